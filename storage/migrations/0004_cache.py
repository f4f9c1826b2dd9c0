"""The table of Django's cache, in which the limits of sign-ins count. It is that of the command `createcachetable`."""

from django.db import migrations, models

TABLE = migrations.CreateModel(
    name="CacheEntry",
    fields=[
        ("cache_key", models.CharField(max_length=255, primary_key=True, serialize=False)),
        ("value", models.TextField()),
        ("expires", models.DateTimeField(db_index=True)),
    ],
    options={"db_table": "zekron_cache"},
)


class Migration(migrations.Migration):
    """A new table, of which the release before this one knows nothing. It has no model, as Django's cache has none."""

    dependencies = [("storage", "0003_sealed_secret")]
    operations = [migrations.SeparateDatabaseAndState(database_operations=[TABLE])]
