"""The hourly roll-up of usage, and its progress."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.functions import Mod
from django.db.models.lookups import Exact


class Migration(migrations.Migration):
    """Two new tables, which the release before this one ignores.

    Their references lock the tables of accounts and keys for a moment. If those stay locked for five seconds, the
    migration fails, has changed nothing and can be run again.
    """

    dependencies = [("billing", "0019_entries_of_people"), ("workers", "0019_webhook_events")]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.CreateModel(
            name="UsageProgress",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("closed_until", models.DateTimeField()),
                ("pending_until", models.DateTimeField(null=True)),
                ("pending_xid", models.BigIntegerField(null=True)),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=Q(id=1), name="usage_progress_once")],
            },
        ),
        migrations.CreateModel(
            name="UsageHour",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("model", models.CharField(max_length=64)),
                (
                    "kind",
                    models.CharField(choices=[("create", "Create"), ("edit", "Edit")], max_length=8),
                ),
                ("size", models.CharField(max_length=16)),
                ("completed", models.IntegerField()),
                ("failed", models.IntegerField()),
                ("cancelled", models.IntegerField()),
                ("cost_micros", models.BigIntegerField()),
                (
                    "wait_counts",
                    django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), size=None),
                ),
                (
                    "make_counts",
                    django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), size=None),
                ),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.account",
                    ),
                ),
                (
                    "api_key",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.apikey",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("account", "hour", "api_key", "model", "kind", "size"),
                        name="usage_hour_once",
                        nulls_distinct=False,
                    ),
                    models.CheckConstraint(
                        condition=Q(completed__gte=0, failed__gte=0, cancelled__gte=0)
                        & (Q(completed__gt=0) | Q(failed__gt=0) | Q(cancelled__gt=0)),
                        name="usage_hour_counts",
                    ),
                    models.CheckConstraint(
                        condition=Q(Exact(Mod(F("cost_micros"), 100), 0))
                        & (Q(completed=0, cost_micros=0) | Q(completed__gt=0, cost_micros__gt=0)),
                        name="usage_hour_cost",
                    ),
                ],
            },
        ),
    ]
