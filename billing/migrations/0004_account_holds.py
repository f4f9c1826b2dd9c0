"""The counts of holds of an account, filled in from the reservations."""

from django.db import migrations, models
from django.db.models import F, Q

COUNT = """
UPDATE billing_account a SET hold_count = r.holds, open_hold_count = r.open_holds FROM (
    SELECT account_id, count(*) AS holds, count(*) FILTER (WHERE resolution = '') AS open_holds
    FROM billing_reservation GROUP BY account_id
) AS r WHERE r.account_id = a.id
"""


class Migration(migrations.Migration):
    """The columns `hold_count` and `open_hold_count`."""

    dependencies = [("billing", "0003_ledger_request_id")]

    operations = [
        migrations.AddField("account", "hold_count", models.BigIntegerField(db_default=0, default=0)),
        migrations.AddField("account", "open_hold_count", models.BigIntegerField(db_default=0, default=0)),
        migrations.RunSQL(COUNT, migrations.RunSQL.noop),
        migrations.AddConstraint(
            "account",
            models.CheckConstraint(
                name="account_holds",
                condition=Q(open_hold_count__gte=0, hold_count__gte=F("open_hold_count")),
            ),
        ),
    ]
