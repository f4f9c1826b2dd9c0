"""The time at which a key was last used, and the pepper under which its digest was made."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns that the release before this one leaves empty.

    They have a migration of their own, because every request reads this table, which must not stay locked while a
    larger one is waited for.
    """

    dependencies = [("billing", "0008_validate_account_limits")]

    operations = [
        migrations.AddField(
            "apikey", "last_used_at", models.DateTimeField(blank=True, editable=False, null=True)
        ),
        migrations.AddField(
            "apikey",
            "pepper",
            models.CharField(blank=True, db_default="", default="", editable=False, max_length=8),
        ),
    ]
