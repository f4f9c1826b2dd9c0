"""The tables of money."""

import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.math
import django.db.models.lookups
from django.db import migrations, models


class Migration(migrations.Migration):
    """The first schema of the package."""

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Account",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
                (
                    "status",
                    models.CharField(
                        choices=[("active", "Active"), ("suspended", "Suspended")],
                        default="active",
                        max_length=9,
                    ),
                ),
                ("balance_micros", models.BigIntegerField(default=0)),
                ("reserved_micros", models.BigIntegerField(default=0)),
                ("spent_micros", models.BigIntegerField(default=0)),
                ("settlement_count", models.BigIntegerField(default=0)),
                ("entry_count", models.BigIntegerField(default=0)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("name__regex", "[^0-9\\s]")), name="account_name"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["active", "suspended"])), name="account_status"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("balance_micros__gte", models.F("reserved_micros")), ("reserved_micros__gte", 0)
                        ),
                        name="account_reserved_within_balance",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("entry_count__gte", 0), ("settlement_count__gte", 0), ("spent_micros__gte", 0)
                        ),
                        name="account_totals_not_negative",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            django.db.models.lookups.Exact(
                                django.db.models.functions.math.Mod(models.F("balance_micros"), 100), 0
                            ),
                            django.db.models.lookups.Exact(
                                django.db.models.functions.math.Mod(models.F("reserved_micros"), 100), 0
                            ),
                            django.db.models.lookups.Exact(
                                django.db.models.functions.math.Mod(models.F("spent_micros"), 100), 0
                            ),
                        ),
                        name="account_multiples_of_100_micros",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(blank=True, max_length=100)),
                ("digest", models.CharField(editable=False, max_length=64, unique=True)),
                ("prefix", models.CharField(editable=False, max_length=12)),
                ("last_four", models.CharField(editable=False, max_length=4)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="keys", to="billing.account"
                    ),
                ),
            ],
            options={
                "verbose_name": "API key",
            },
        ),
        migrations.CreateModel(
            name="Reservation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("quote_micros", models.BigIntegerField()),
                (
                    "resolution",
                    models.CharField(
                        blank=True,
                        choices=[("", "Open"), ("settled", "Settled"), ("released", "Released")],
                        default="",
                        max_length=8,
                    ),
                ),
                ("settled_micros", models.BigIntegerField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reservations",
                        to="billing.account",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="LedgerEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sequence", models.BigIntegerField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("credit", "Credit"),
                            ("refund", "Refund"),
                            ("hold", "Hold"),
                            ("settle", "Settle"),
                            ("release", "Release"),
                        ],
                        max_length=7,
                    ),
                ),
                ("amount_micros", models.BigIntegerField()),
                ("balance_after_micros", models.BigIntegerField()),
                ("reserved_after_micros", models.BigIntegerField()),
                ("actor", models.CharField(blank=True, max_length=150)),
                ("reason", models.CharField(blank=True, max_length=500)),
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
                        related_name="entries",
                        to="billing.account",
                    ),
                ),
                (
                    "reservation",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="billing.reservation",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "ledger entries",
            },
        ),
        migrations.AddIndex(
            model_name="reservation",
            index=models.Index(
                condition=models.Q(("resolution", "")), fields=["account"], name="reservation_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="reservation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("quote_micros__gt", 0),
                    django.db.models.lookups.Exact(
                        django.db.models.functions.math.Mod(models.F("quote_micros"), 100), 0
                    ),
                ),
                name="reservation_quote",
            ),
        ),
        migrations.AddConstraint(
            model_name="reservation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("resolution", ""), ("resolved_at__isnull", True)),
                    models.Q(("resolution__in", ["settled", "released"]), ("resolved_at__isnull", False)),
                    _connector="OR",
                ),
                name="reservation_resolution",
            ),
        ),
        migrations.AddConstraint(
            model_name="reservation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        models.Q(
                            django.db.models.lookups.Exact(
                                django.db.models.functions.math.Mod(models.F("settled_micros"), 100), 0
                            )
                        ),
                        ("resolution", "settled"),
                        ("settled_micros__gte", 1),
                        ("settled_micros__isnull", False),
                        ("settled_micros__lte", models.F("quote_micros")),
                    ),
                    models.Q(
                        models.Q(("resolution", "settled"), _negated=True), ("settled_micros__isnull", True)
                    ),
                    _connector="OR",
                ),
                name="reservation_settled_within_quote",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.UniqueConstraint(fields=("account", "sequence"), name="entry_sequence"),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "hold")),
                fields=("reservation",),
                name="entry_one_hold_a_reservation",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind__in", ["settle", "release"])),
                fields=("reservation",),
                name="entry_one_resolution_a_reservation",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind__in", ["hold", "settle", "release"]), ("reservation__isnull", False)),
                    models.Q(("kind__in", ["credit", "refund"]), ("reservation__isnull", True)),
                    _connector="OR",
                ),
                name="entry_kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind__in", ["credit", "refund"]), _negated=True),
                    models.Q(("actor__regex", "\\S"), ("reason__regex", "\\S")),
                    _connector="OR",
                ),
                name="entry_actor_and_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        django.db.models.lookups.Exact(
                            django.db.models.functions.math.Mod(models.F("amount_micros"), 100), 0
                        ),
                        django.db.models.lookups.Exact(
                            django.db.models.functions.math.Mod(models.F("balance_after_micros"), 100), 0
                        ),
                        django.db.models.lookups.Exact(
                            django.db.models.functions.math.Mod(models.F("reserved_after_micros"), 100), 0
                        ),
                    ),
                    ("amount_micros__gt", 0),
                    ("balance_after_micros__gte", models.F("reserved_after_micros")),
                    ("reserved_after_micros__gte", 0),
                    ("sequence__gte", 1),
                ),
                name="entry_amounts",
            ),
        ),
    ]
