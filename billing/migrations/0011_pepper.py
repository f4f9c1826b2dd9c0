"""The pepper under which a key's digest was made."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A column that the release before this one leaves empty. The next use of a key fills it."""

    dependencies = [("billing", "0010_validate_keys_of_holds")]

    operations = [
        migrations.AddField(
            "apikey",
            "pepper",
            models.CharField(blank=True, db_default="", default="", editable=False, max_length=8),
        ),
    ]
