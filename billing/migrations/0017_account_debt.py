"""The debt of an account."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q

from billing.constraints import whole

# An audit may read the accounts for minutes. Whoever waits behind a migration that waits for it would wait as long.
GIVE_UP = migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop)


class Migration(migrations.Migration):
    """A column that is zero for every account. To add it reads no row of the table.

    If the table stays locked for five seconds, the migration fails, has changed nothing and can be run again.
    """

    dependencies = [("billing", "0016_card_top_ups")]

    operations = [
        GIVE_UP,
        migrations.AddField("account", "debt_micros", models.BigIntegerField(db_default=0, default=0)),
        AddConstraintNotValid(
            "account",
            models.CheckConstraint(
                name="account_debt", condition=Q(debt_micros__gte=0) & whole("debt_micros")
            ),
        ),
    ]
