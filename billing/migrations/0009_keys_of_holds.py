"""The key that asked for a hold, and the time at which a key was last used."""

import django.db.models.deletion
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """Columns that the release before this one leaves empty. To add them reads no row of a large table."""

    dependencies = [("billing", "0008_validate_account_limits")]

    operations = [
        migrations.AddField(
            "apikey", "last_used_at", models.DateTimeField(blank=True, editable=False, null=True)
        ),
        migrations.AddField(
            "ledgerentry",
            "api_key",
            models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.apikey",
            ),
        ),
        AddConstraintNotValid(
            "ledgerentry",
            models.CheckConstraint(
                name="entry_key_of_hold", condition=Q(kind="hold") | Q(api_key__isnull=True)
            ),
        ),
    ]
