"""Models of webhooks: the endpoints of an account, and the deliveries to them, which are the outbox and the log.

Only `workers.webhooks` writes them.
"""

from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from billing.models import Account
from storage.models import SealedSecret

# The endpoints that an account may have.
MAX_ENDPOINTS: Final = 10
MAX_URL_CHARACTERS: Final = 2048
MAX_DESCRIPTION_CHARACTERS: Final = 200


class DisabledReason(models.TextChoices):
    """The reason for which the service disabled an endpoint. One that its owner disabled has none."""

    GONE = "gone"
    FAILING = "failing"


class WebhookEndpoint(models.Model):
    """A receiver of an account's events.

    The default endpoint of an account has no address. It stands for all addresses that its requests name themselves.
    """

    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    # One of the places from 1 to MAX_ENDPOINTS, or null for the default endpoint and for a deleted one.
    place = models.PositiveSmallIntegerField(null=True)
    is_default = models.BooleanField(default=False)
    url = models.CharField(max_length=MAX_URL_CHARACTERS, blank=True)
    events = ArrayField(models.CharField(max_length=64))
    is_enabled = models.BooleanField(default=True)
    include_prompt = models.BooleanField(default=False)
    description = models.CharField(max_length=MAX_DESCRIPTION_CHARACTERS, blank=True)
    secret = models.OneToOneField(SealedSecret, models.PROTECT, null=True, related_name="+")
    # After a rotation the former secret signs too, until its end.
    former_secret = models.OneToOneField(SealedSecret, models.PROTECT, null=True, related_name="+")
    former_secret_until = models.DateTimeField(null=True)
    # The failures since the last success, and the time of the first of them.
    failure_count = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True)
    last_success_at = models.DateTimeField(null=True)
    disabled_at = models.DateTimeField(null=True)
    disabled_reason = models.CharField(max_length=16, choices=DisabledReason.choices, blank=True)
    # When the account was told that the service disabled the endpoint.
    disabled_told_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    # A deleted endpoint has no secret. Its row goes when the last of its deliveries goes.
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        """Indexes for the events of an account, and constraints on what an endpoint may be."""

        indexes = [
            models.Index("account", name="webhook_endpoint_enabled", condition=Q(is_enabled=True)),
            models.Index("disabled_at", name="webhook_endpoint_disabled", condition=~Q(disabled_reason="")),
            models.Index(
                "deleted_at", name="webhook_endpoint_deleted", condition=Q(deleted_at__isnull=False)
            ),
            models.Index(
                "former_secret_until",
                name="webhook_endpoint_rotated",
                condition=Q(former_secret_until__isnull=False),
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["account", "place"], name="webhook_endpoint_place_once"),
            models.UniqueConstraint(
                fields=["account"], name="webhook_endpoint_default_once", condition=Q(is_default=True)
            ),
            models.CheckConstraint(
                name="webhook_endpoint_place",
                condition=Q(place__isnull=True) | Q(place__range=(1, MAX_ENDPOINTS)),
            ),
            models.CheckConstraint(
                name="webhook_endpoint_kind",
                condition=Q(is_default=True, place__isnull=True, deleted_at__isnull=True, url="")
                | Q(is_default=False, place__isnull=False, deleted_at__isnull=True) & ~Q(url="")
                | Q(is_default=False, place__isnull=True, deleted_at__isnull=False),
            ),
            models.CheckConstraint(
                name="webhook_endpoint_secret",
                condition=Q(deleted_at__isnull=True, secret__isnull=False)
                | Q(deleted_at__isnull=False, secret__isnull=True, former_secret__isnull=True),
            ),
            models.CheckConstraint(
                name="webhook_endpoint_former_secret",
                condition=Q(former_secret__isnull=True, former_secret_until__isnull=True)
                | Q(former_secret__isnull=False, former_secret_until__isnull=False),
            ),
            models.CheckConstraint(
                name="webhook_endpoint_enabled_is_usable",
                condition=Q(is_enabled=False) | Q(deleted_at__isnull=True, disabled_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"webhook {self.pk}"


class WebhookDelivery(models.Model):
    """One event for one endpoint: a row of the outbox until it is delivered or given up, and of the log for a week."""

    # All endpoints of an event get the same id, as the header `webhook-id`, at every attempt.
    event_id = models.UUIDField()
    event_type = models.CharField(max_length=64)
    endpoint = models.ForeignKey(WebhookEndpoint, models.PROTECT, related_name="+", db_index=False)
    # The generation of the event, from whose row the body is made, or else the data of the body.
    generation = models.ForeignKey(
        "workers.Generation", models.PROTECT, null=True, related_name="+", db_index=False
    )
    data = models.JSONField(null=True)
    # The address that the request named, for the default endpoint.
    url = models.CharField(max_length=MAX_URL_CHARACTERS, blank=True)
    created_at = models.DateTimeField()
    # The time of the next attempt, or the end of the lease of the one that is under way. An ended delivery has none.
    next_at = models.DateTimeField(null=True)
    lease_token = models.UUIDField(null=True)
    attempt_count = models.PositiveIntegerField(default=0)
    tries_left = models.PositiveSmallIntegerField()
    delivered_at = models.DateTimeField(null=True)
    # The outcome of the last attempt that ended: the status of the reply, or else the class of the error.
    attempted_at = models.DateTimeField(null=True)
    response_status = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=32, blank=True)
    milliseconds = models.PositiveIntegerField(null=True)

    class Meta:
        """Indexes for claims, the log and its purge, and constraints on the states of a delivery."""

        verbose_name_plural = "webhook deliveries"
        indexes = [
            # A claim finds the endpoints that wait, and the first deliveries of each. No ended delivery is in it.
            models.Index(
                "endpoint", "next_at", "id", name="webhook_delivery_open", condition=Q(next_at__isnull=False)
            ),
            models.Index(
                "endpoint", "next_at", name="webhook_delivery_leased", condition=Q(lease_token__isnull=False)
            ),
            models.Index(
                "endpoint",
                "created_at",
                name="webhook_delivery_failed",
                condition=Q(next_at__isnull=True, delivered_at__isnull=True),
            ),
            models.Index("endpoint", "id", name="webhook_delivery_log"),
            models.Index("created_at", name="webhook_delivery_age"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["event_id", "endpoint"], name="webhook_delivery_once"),
            models.UniqueConstraint(
                fields=["generation", "event_type", "endpoint"],
                name="webhook_delivery_of_generation_once",
                condition=Q(generation__isnull=False),
            ),
            models.CheckConstraint(
                name="webhook_delivery_of_something",
                condition=Q(generation__isnull=False, data__isnull=True)
                | Q(generation__isnull=True, data__isnull=False),
            ),
            models.CheckConstraint(
                name="webhook_delivery_leased_while_open",
                condition=Q(lease_token__isnull=True) | Q(next_at__isnull=False),
            ),
            models.CheckConstraint(
                name="webhook_delivery_delivered_is_ended",
                condition=Q(delivered_at__isnull=True) | Q(next_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"delivery {self.pk} ({self.event_type})"

    @property
    def message_id(self) -> str:
        """The id of the event, as receivers see it."""
        return f"msg_{self.event_id.hex}"
