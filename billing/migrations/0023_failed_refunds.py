"""Refunds as Stripe tells them, and the sum of those that failed."""

import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.math
import django.db.models.lookups
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import F, Q

# Whoever would wait behind a migration that waits for a lock waits no longer than this.
GIVE_UP = migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop)


class Migration(migrations.Migration):
    """A new table, a column that is zero for every order, and a constraint that accepts what the former one did.

    If the table stays locked for five seconds, the migration fails, has changed nothing and can be run again.
    """

    dependencies = [("billing", "0022_disabled_webhooks")]

    operations = [
        GIVE_UP,
        migrations.CreateModel(
            name="ToldRefund",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("stripe_id", models.CharField(max_length=255, unique=True)),
                ("amount_micros", models.BigIntegerField()),
                ("is_failed", models.BooleanField()),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="told_refunds",
                        to="billing.topuporder",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount_micros__gt", 0),
                            django.db.models.lookups.Exact(
                                django.db.models.functions.math.Mod(models.F("amount_micros"), 10000), 0
                            ),
                        ),
                        name="told_refund_amount",
                    )
                ],
            },
        ),
        migrations.AddField(
            "topuporder", "refund_failed_micros", models.BigIntegerField(db_default=0, default=0)
        ),
        migrations.RemoveConstraint("topuporder", "order_taken_within_amount"),
        AddConstraintNotValid(
            "topuporder",
            models.CheckConstraint(
                name="order_reversals",
                condition=Q(
                    taken_micros__gte=0,
                    taken_micros__lte=F("amount_micros"),
                    refunded_micros__gte=0,
                    refunded_micros__lte=F("amount_micros") + F("refund_failed_micros"),
                    refund_asked_micros__gte=0,
                    refund_asked_micros__lte=F("amount_micros") + F("refund_failed_micros"),
                    refund_failed_micros__gte=0,
                ),
            ),
        ),
    ]
