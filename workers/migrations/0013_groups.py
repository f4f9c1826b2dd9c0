"""The columns of the generations that one request asked for."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns that the release before this one leaves empty."""

    dependencies = [("workers", "0012_ended_by_error")]

    operations = [
        migrations.AddField("generation", "group_id", models.BigIntegerField(null=True)),
        migrations.AddField("generation", "group_index", models.PositiveSmallIntegerField(null=True)),
    ]
