"""The table of secrets that the service must read again."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    """A new table, of which the release before this one knows nothing."""

    dependencies = [("storage", "0002_associated_data")]

    operations = [
        migrations.CreateModel(
            name="SealedSecret",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("master_key_id", models.CharField(max_length=16)),
                ("wrapped_key", models.BinaryField()),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
        ),
    ]
