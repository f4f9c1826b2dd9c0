"""Card payments through Stripe, and debts."""

import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.math
import django.db.models.lookups
from django.db import migrations, models

REFUSE = """
CREATE TRIGGER billing_debts_unchanged BEFORE UPDATE OR DELETE ON billing_debtentry
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_ledger_change();
CREATE TRIGGER billing_debts_untruncated BEFORE TRUNCATE ON billing_debtentry
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_ledger_change();
ALTER TABLE billing_debtentry ENABLE ALWAYS TRIGGER billing_debts_unchanged;
ALTER TABLE billing_debtentry ENABLE ALWAYS TRIGGER billing_debts_untruncated;
"""

ALLOW = """
DROP TRIGGER billing_debts_unchanged ON billing_debtentry;
DROP TRIGGER billing_debts_untruncated ON billing_debtentry;
"""


class Migration(migrations.Migration):
    """Tables that the release before this one does not know. Debts are append-only, as the ledger is."""

    dependencies = [
        ("billing", "0015_redemption_codes"),
    ]

    operations = [
        migrations.CreateModel(
            name="TopUpOrder",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                ("amount_micros", models.BigIntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("paid", "Paid"),
                            ("expired", "Expired"),
                            ("failed", "Failed"),
                        ],
                        default="pending",
                        max_length=7,
                    ),
                ),
                ("session_id", models.CharField(blank=True, default="", max_length=255)),
                ("url", models.TextField(blank=True, default="")),
                ("payment_intent_id", models.CharField(blank=True, max_length=255, null=True, unique=True)),
                ("refunded_micros", models.BigIntegerField(db_default=0, default=0)),
                ("refund_asked_micros", models.BigIntegerField(db_default=0, default=0)),
                ("taken_micros", models.BigIntegerField(db_default=0, default=0)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("paid_at", models.DateTimeField(blank=True, null=True)),
                ("checked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="top_up_orders",
                        to="billing.account",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="CardRefund",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                ("amount_micros", models.BigIntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[("pending", "Pending"), ("done", "Done"), ("refused", "Refused")],
                        default="pending",
                        max_length=7,
                    ),
                ),
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
                        related_name="refunds",
                        to="billing.topuporder",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="CardMovement",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("taken", "Taken"), ("given_back", "Given Back")], max_length=10
                    ),
                ),
                ("amount_micros", models.BigIntegerField()),
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
                        related_name="movements",
                        to="billing.topuporder",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="CardDispute",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("stripe_id", models.CharField(max_length=255, unique=True)),
                ("amount_micros", models.BigIntegerField()),
                ("is_won", models.BooleanField()),
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
                        related_name="disputes",
                        to="billing.topuporder",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="DebtEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(choices=[("raised", "Raised"), ("paid", "Paid")], max_length=6)),
                ("amount_micros", models.BigIntegerField()),
                ("debt_after_micros", models.BigIntegerField()),
                ("request_id", models.UUIDField(blank=True, null=True, unique=True)),
                ("reason", models.CharField(max_length=500)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="debt_entries",
                        to="billing.account",
                    ),
                ),
                (
                    "ledger_entry",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.ledgerentry",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "debt entries",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                django.db.models.lookups.Exact(
                                    django.db.models.functions.math.Mod(models.F("amount_micros"), 100), 0
                                ),
                                django.db.models.lookups.Exact(
                                    django.db.models.functions.math.Mod(models.F("debt_after_micros"), 100), 0
                                ),
                            ),
                            ("amount_micros__gt", 0),
                            ("debt_after_micros__gte", 0),
                        ),
                        name="debt_amounts",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("kind", "raised"),
                                ("ledger_entry__isnull", True),
                                ("request_id__isnull", False),
                            ),
                            models.Q(
                                ("kind", "paid"),
                                ("ledger_entry__isnull", False),
                                ("request_id__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="debt_kind",
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="topuporder",
            index=models.Index(
                condition=models.Q(("status", "pending")), fields=["created_at"], name="order_pending"
            ),
        ),
        migrations.AddIndex(
            model_name="topuporder",
            index=models.Index(fields=["account", "-created_at"], name="order_history"),
        ),
        migrations.AddConstraint(
            model_name="topuporder",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_micros__gt", 0),
                    django.db.models.lookups.Exact(
                        django.db.models.functions.math.Mod(models.F("amount_micros"), 10000), 0
                    ),
                ),
                name="order_amount",
            ),
        ),
        migrations.AddConstraint(
            model_name="topuporder",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("paid_at__isnull", False), ("status", "paid")),
                    models.Q(
                        ("paid_at__isnull", True),
                        ("status__in", ["pending", "expired", "failed"]),
                        ("taken_micros", 0),
                    ),
                    _connector="OR",
                ),
                name="order_status",
            ),
        ),
        migrations.AddConstraint(
            model_name="topuporder",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("refund_asked_micros__gte", 0),
                    ("refund_asked_micros__lte", models.F("amount_micros")),
                    ("refunded_micros__gte", 0),
                    ("refunded_micros__lte", models.F("amount_micros")),
                    ("taken_micros__gte", 0),
                    ("taken_micros__lte", models.F("amount_micros")),
                ),
                name="order_taken_within_amount",
            ),
        ),
        migrations.AddIndex(
            model_name="cardrefund",
            index=models.Index(
                condition=models.Q(("status", "pending")), fields=["created_at"], name="card_refund_pending"
            ),
        ),
        migrations.AddConstraint(
            model_name="cardrefund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_micros__gt", 0),
                    django.db.models.lookups.Exact(
                        django.db.models.functions.math.Mod(models.F("amount_micros"), 10000), 0
                    ),
                ),
                name="card_refund_amount",
            ),
        ),
        migrations.AddConstraint(
            model_name="cardrefund",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["pending", "done", "refused"])), name="card_refund_status"
            ),
        ),
        migrations.AddConstraint(
            model_name="cardmovement",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_micros__gt", 0),
                    django.db.models.lookups.Exact(
                        django.db.models.functions.math.Mod(models.F("amount_micros"), 10000), 0
                    ),
                ),
                name="movement_amount",
            ),
        ),
        migrations.AddConstraint(
            model_name="cardmovement",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["taken", "given_back"])), name="movement_kind"
            ),
        ),
        migrations.AddConstraint(
            model_name="carddispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_micros__gt", 0),
                    django.db.models.lookups.Exact(
                        django.db.models.functions.math.Mod(models.F("amount_micros"), 10000), 0
                    ),
                ),
                name="dispute_amount",
            ),
        ),
        migrations.RunSQL(sql=REFUSE, reverse_sql=ALLOW),
    ]
