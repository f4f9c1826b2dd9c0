"""Redemption codes."""

import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.math
import django.db.models.lookups
from django.db import migrations, models


class Migration(migrations.Migration):
    """The table of redemption codes, which the release before this one does not know."""

    dependencies = [
        ("billing", "0014_validate_key_grants"),
    ]

    operations = [
        migrations.CreateModel(
            name="RedemptionCode",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("digest", models.CharField(editable=False, max_length=64, unique=True)),
                ("pepper", models.CharField(editable=False, max_length=8)),
                ("last_four", models.CharField(editable=False, max_length=4)),
                ("amount_micros", models.BigIntegerField()),
                ("credit_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_by", models.CharField(editable=False, max_length=150)),
                ("reason", models.CharField(max_length=500)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("expires_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("redeemed_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "redeemed_by",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.account",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount_micros__gt", 0),
                            django.db.models.lookups.Exact(
                                django.db.models.functions.math.Mod(models.F("amount_micros"), 100), 0
                            ),
                        ),
                        name="code_amount",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("redeemed_at__isnull", True), ("redeemed_by__isnull", True)),
                            models.Q(
                                ("redeemed_at__isnull", False),
                                ("redeemed_by__isnull", False),
                                ("revoked_at__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="code_end",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("created_by__regex", "\\S"), ("reason__regex", "\\S")),
                        name="code_actor_and_reason",
                    ),
                ],
            },
        ),
    ]
