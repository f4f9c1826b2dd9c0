"""The counter of an account's asynchronous holds, and the mark of each of them."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    """The columns `is_async` and `open_async_count`, which the release before this one leaves at their defaults."""

    dependencies = [("billing", "0004_account_holds")]

    operations = [
        migrations.AddField("account", "open_async_count", models.BigIntegerField(db_default=0, default=0)),
        migrations.AddField("reservation", "is_async", models.BooleanField(db_default=False, default=False)),
        AddConstraintNotValid(
            "account",
            models.CheckConstraint(
                name="account_async_holds",
                condition=Q(open_async_count__gte=0, open_hold_count__gte=F("open_async_count")),
            ),
        ),
    ]
