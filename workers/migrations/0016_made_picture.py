"""The digests of pictures that were made here."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A table that the release before this one does not know."""

    dependencies = [("workers", "0015_provenance")]

    operations = [
        migrations.CreateModel(
            "MadePicture",
            [("digest", models.BinaryField(max_length=32, primary_key=True, serialize=False))],
        ),
    ]
