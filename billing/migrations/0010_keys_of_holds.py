"""The key that asked for a hold."""

import django.db.models.deletion
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q

# An audit may read the ledger for minutes. Whoever waits behind a migration that waits for it would wait as long.
GIVE_UP = migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop)


class Migration(migrations.Migration):
    """A column that the release before this one leaves empty. To add it reads no row of the table.

    If the table stays locked for five seconds, the migration fails, has changed nothing and can be run again.
    """

    dependencies = [("billing", "0009_use_of_keys")]

    operations = [
        GIVE_UP,
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
