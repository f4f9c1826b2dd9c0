"""The tables of webhooks: endpoints, and the outbox and log of their deliveries."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """New tables, of which the release before this one knows nothing. Their references lock older tables for a moment.

    If one of those stays locked for five seconds, the migration fails, has changed nothing and can be run again.
    """

    dependencies = [
        ("billing", "0011_validate_keys_of_holds"),
        ("storage", "0003_sealed_secret"),
        ("workers", "0017_api_key"),
    ]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.CreateModel(
            name="WebhookEndpoint",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("place", models.PositiveSmallIntegerField(null=True)),
                ("is_default", models.BooleanField(default=False)),
                ("url", models.CharField(blank=True, max_length=2048)),
                (
                    "events",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=64), size=None
                    ),
                ),
                ("is_enabled", models.BooleanField(default=True)),
                ("include_prompt", models.BooleanField(default=False)),
                ("description", models.CharField(blank=True, max_length=200)),
                ("former_secret_until", models.DateTimeField(null=True)),
                ("failure_count", models.PositiveIntegerField(default=0)),
                ("failing_since", models.DateTimeField(null=True)),
                ("last_success_at", models.DateTimeField(null=True)),
                ("disabled_at", models.DateTimeField(null=True)),
                (
                    "disabled_reason",
                    models.CharField(
                        blank=True, choices=[("gone", "Gone"), ("failing", "Failing")], max_length=16
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("deleted_at", models.DateTimeField(null=True)),
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
                    "former_secret",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="storage.sealedsecret",
                    ),
                ),
                (
                    "secret",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="storage.sealedsecret",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="WebhookDelivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("event_id", models.UUIDField()),
                ("event_type", models.CharField(max_length=64)),
                ("data", models.JSONField(null=True)),
                ("url", models.CharField(blank=True, max_length=2048)),
                ("created_at", models.DateTimeField()),
                ("next_at", models.DateTimeField(null=True)),
                ("lease_token", models.UUIDField(null=True)),
                ("attempt_count", models.PositiveIntegerField(default=0)),
                ("tries_left", models.PositiveSmallIntegerField()),
                ("delivered_at", models.DateTimeField(null=True)),
                ("attempted_at", models.DateTimeField(null=True)),
                ("response_status", models.PositiveSmallIntegerField(null=True)),
                ("error", models.CharField(blank=True, max_length=32)),
                ("milliseconds", models.PositiveIntegerField(null=True)),
                (
                    "generation",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workers.generation",
                    ),
                ),
                (
                    "endpoint",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workers.webhookendpoint",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "webhook deliveries",
            },
        ),
        migrations.AddIndex(
            model_name="webhookendpoint",
            index=models.Index(
                models.F("account"), condition=models.Q(("is_enabled", True)), name="webhook_endpoint_enabled"
            ),
        ),
        migrations.AddIndex(
            model_name="webhookendpoint",
            index=models.Index(
                models.F("disabled_at"),
                condition=models.Q(("disabled_reason", ""), _negated=True),
                name="webhook_endpoint_disabled",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookendpoint",
            index=models.Index(
                models.F("deleted_at"),
                condition=models.Q(("deleted_at__isnull", False)),
                name="webhook_endpoint_deleted",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookendpoint",
            index=models.Index(
                models.F("former_secret_until"),
                condition=models.Q(("former_secret_until__isnull", False)),
                name="webhook_endpoint_rotated",
            ),
        ),
        migrations.AddConstraint(
            model_name="webhookendpoint",
            constraint=models.UniqueConstraint(
                fields=("account", "place"), name="webhook_endpoint_place_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="webhookendpoint",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_default", True)),
                fields=("account",),
                name="webhook_endpoint_default_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="webhookendpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(("place__isnull", True), ("place__range", (1, 10)), _connector="OR"),
                name="webhook_endpoint_place",
            ),
        ),
        migrations.AddConstraint(
            model_name="webhookendpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("deleted_at__isnull", True),
                        ("is_default", True),
                        ("place__isnull", True),
                        ("url", ""),
                    ),
                    models.Q(
                        ("deleted_at__isnull", True),
                        ("is_default", False),
                        ("place__isnull", False),
                        models.Q(("url", ""), _negated=True),
                    ),
                    models.Q(("deleted_at__isnull", False), ("is_default", False), ("place__isnull", True)),
                    _connector="OR",
                ),
                name="webhook_endpoint_kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="webhookendpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("deleted_at__isnull", True), ("secret__isnull", False)),
                    models.Q(
                        ("deleted_at__isnull", False),
                        ("former_secret__isnull", True),
                        ("secret__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="webhook_endpoint_secret",
            ),
        ),
        migrations.AddConstraint(
            model_name="webhookendpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("former_secret__isnull", True), ("former_secret_until__isnull", True)),
                    models.Q(("former_secret__isnull", False), ("former_secret_until__isnull", False)),
                    _connector="OR",
                ),
                name="webhook_endpoint_former_secret",
            ),
        ),
        migrations.AddConstraint(
            model_name="webhookendpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_enabled", False),
                    models.Q(("deleted_at__isnull", True), ("disabled_at__isnull", True)),
                    _connector="OR",
                ),
                name="webhook_endpoint_enabled_is_usable",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(
                models.F("endpoint"),
                models.F("next_at"),
                models.F("id"),
                condition=models.Q(("next_at__isnull", False)),
                name="webhook_delivery_open",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(
                models.F("endpoint"),
                models.F("next_at"),
                condition=models.Q(("lease_token__isnull", False)),
                name="webhook_delivery_leased",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(
                models.F("endpoint"),
                models.F("created_at"),
                condition=models.Q(("delivered_at__isnull", True), ("next_at__isnull", True)),
                name="webhook_delivery_failed",
            ),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(models.F("endpoint"), models.F("id"), name="webhook_delivery_log"),
        ),
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(models.F("created_at"), name="webhook_delivery_age"),
        ),
        migrations.AddConstraint(
            model_name="webhookdelivery",
            constraint=models.UniqueConstraint(fields=("event_id", "endpoint"), name="webhook_delivery_once"),
        ),
        migrations.AddConstraint(
            model_name="webhookdelivery",
            constraint=models.UniqueConstraint(
                condition=models.Q(("generation__isnull", False)),
                fields=("generation", "event_type", "endpoint"),
                name="webhook_delivery_of_generation_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="webhookdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("data__isnull", True), ("generation__isnull", False)),
                    models.Q(("data__isnull", False), ("generation__isnull", True)),
                    _connector="OR",
                ),
                name="webhook_delivery_of_something",
            ),
        ),
        migrations.AddConstraint(
            model_name="webhookdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("lease_token__isnull", True), ("next_at__isnull", False), _connector="OR"
                ),
                name="webhook_delivery_leased_while_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="webhookdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("delivered_at__isnull", True), ("next_at__isnull", True), _connector="OR"
                ),
                name="webhook_delivery_delivered_is_ended",
            ),
        ),
    ]
