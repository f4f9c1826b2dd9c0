"""The kind of the mark in the file of a generation's image."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A column with a default of the database, so that the release before this one can ignore it."""

    dependencies = [("workers", "0014_group_index")]

    operations = [
        migrations.AddField(
            "generation",
            "provenance",
            models.CharField(max_length=8, blank=True, default="", db_default=""),
        ),
    ]
