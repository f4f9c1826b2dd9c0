"""Models of the workers. The row of a generation is its only truth and the outbox of its hints."""

from datetime import datetime
from typing import Final

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Mod
from django.db.models.lookups import Exact

from billing.models import Account, ApiKey, Reservation
from storage.models import StoredImage

# Django finds the models of an app in this module alone.
from workers import webhook_models  # noqa: F401

# A generation may crash each worker that tries it. After this number of attempts it fails for good.
MAX_ATTEMPTS: Final = 3
# Clients' programs see this text as the error type of a failed generation.
GENERATION_FAILED: Final = "generation_failed"

# Tests pass a datetime. Everything else passes the clock of the database, on which all machines agree.
Timestamp = datetime | Combinable


class Status(models.TextChoices):
    """The status of a generation. `workers.lifecycle.transitions.NEXT` has the allowed transitions."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_STATUSES = (Status.QUEUED, Status.RUNNING)
ENDED_STATUSES = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


class Kind(models.TextChoices):
    """The kind of a generation: from a prompt alone, or from a prompt and one or two source images."""

    CREATE = "create"
    EDIT = "edit"


class Generation(models.Model):
    """One paid picture, from the acceptance of its request to its end. Only `workers.lifecycle` writes it."""

    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    # The key that asked for it. Generations of older releases have none.
    api_key = models.ForeignKey(ApiKey, models.PROTECT, null=True, related_name="+", db_index=False)
    # The person who asked for it in the console, without a key. Programs are no persons.
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+", db_index=False
    )
    # The number counts the account's generations from 1 without a gap, so that a page of the history is found by it.
    number = models.BigIntegerField()
    reservation = models.OneToOneField(Reservation, models.PROTECT, related_name="+")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    model = models.CharField(max_length=64)
    # The prompt is empty once it is erased. No request has an empty prompt.
    prompt = models.TextField()
    # A request for several pictures makes a group. Its id is that of its first generation, and the index is from 0.
    group_id = models.BigIntegerField(null=True)
    group_index = models.PositiveSmallIntegerField(null=True)
    # What the request asked for beside the prompt: width and height in pixels, and the rest until the prompt is erased.
    # `source_sizes` has width and height of each source image. A worker adds `prompt_tokens`, the number of the tokens
    # that the model has read of the prompt, and the same number as `prompt_tokens_read` if the prompt has more.
    parameters = models.JSONField()
    quote_micros = models.BigIntegerField()
    cost_micros = models.BigIntegerField(null=True)

    # The client of a synchronous generation waits for it. An asynchronous one is looked up later.
    is_async = models.BooleanField(default=False, db_default=False)
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.QUEUED)
    attempt_count = models.PositiveSmallIntegerField(default=0)
    lease_token = models.UUIDField(null=True, unique=True)
    lease_until = models.DateTimeField(null=True)
    # The earliest turn goes first. It is the acceptance, delayed for each earlier open generation of the account.
    turn_at = models.DateTimeField()
    # No attempt starts before `not_before`, and none after `deadline_at`. The first one starts before `queue_until`.
    not_before = models.DateTimeField()
    queue_until = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField()
    # The time of the last hint for this row. Null asks the sweep for a hint at once.
    hinted_at = models.DateTimeField(null=True)

    # The client asked to cancel the running attempt. Its worker ends it without a charge.
    cancel_requested_at = models.DateTimeField(null=True)
    # The client was sent a partial image. Too many cancellations after that suspend partial images.
    are_partials_delivered = models.BooleanField(default=False, db_default=False)

    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    # A client left before its reply was sent. The keyed digest is of its request. A retry of the same request, which
    # the client's own library sends without an Idempotency-Key, is answered with this generation once.
    client_lost_at = models.DateTimeField(null=True)
    lost_digest = models.CharField(max_length=64, blank=True, default="", db_default="")

    # The id of the HTTP request that asked for it, and the trace that it belongs to (W3C Trace Context), or empty.
    request_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    traceparent = models.CharField(max_length=55, blank=True, default="", db_default="")

    image = models.OneToOneField(StoredImage, models.PROTECT, null=True, related_name="+")
    # The kind of the mark in the image's file that says that it was generated, or empty without one.
    provenance = models.CharField(max_length=8, blank=True, default="", db_default="")
    # SHA-256 of the image's token in hex. The token itself is never stored.
    token_digest = models.CharField(max_length=64, null=True, unique=True)  # noqa: DJ001 (unique, so empty must be null)
    # The client saw this code, and support finds the row by it. Programs see the type.
    error_code = models.CharField(max_length=64, blank=True, default="")
    error_type = models.CharField(max_length=32, blank=True, default="")
    # The cause of the error, for staff alone.
    error_detail = models.TextField(blank=True, default="")

    class Meta:
        """Indexes for the queries of the lifecycle, constraints on each status, and the permission to cancel."""

        permissions = [
            ("cancel_generation", "Can cancel generation"),
            ("refund_generation", "Can refund generation"),
        ]
        indexes = [
            models.Index("account", name="generation_open", condition=Q(status__in=OPEN_STATUSES)),
            models.Index("hinted_at", name="generation_queued", condition=Q(status=Status.QUEUED)),
            # The model comes first, because any number of another model's generations may have an earlier turn.
            models.Index(
                "model", "turn_at", "id", name="generation_model_turn", condition=Q(status=Status.QUEUED)
            ),
            models.Index("lease_until", name="generation_running", condition=Q(status=Status.RUNNING)),
            models.Index("deadline_at", name="generation_deadline", condition=Q(status__in=OPEN_STATUSES)),
            models.Index("error_code", name="generation_error_code", condition=~Q(error_code="")),
            models.Index(
                "ended_at", name="generation_with_prompt", condition=Q(ended_at__isnull=False) & ~Q(prompt="")
            ),
            models.Index(
                "queue_until",
                name="generation_queue_until",
                condition=Q(status=Status.QUEUED, queue_until__isnull=False),
            ),
            models.Index("ended_at", name="generation_ended_by_error", condition=~Q(error_type="")),
            # They find the history's pages by a status that is rare, and by the time of acceptance.
            models.Index(
                "account",
                "status",
                "number",
                name="generation_without_image",
                condition=Q(status__in=(Status.FAILED, Status.CANCELLED)),
            ),
            models.Index("account", "created_at", "number", name="generation_created"),
            models.Index("group_id", name="generation_group", condition=Q(group_id__isnull=False)),
            # It finds whether anything refers to a person who is to be deleted.
            models.Index("person", name="generation_person", condition=Q(person__isnull=False)),
            models.Index(
                "account",
                "lost_digest",
                name="generation_lost_client",
                condition=Q(client_lost_at__isnull=False),
            ),
            models.Index(
                "account",
                "ended_at",
                name="generation_seen_cancelled",
                condition=Q(status=Status.CANCELLED, are_partials_delivered=True),
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["account", "number"], name="generation_number_once"),
            models.CheckConstraint(
                name="generation_leased_while_running",
                condition=Q(status=Status.RUNNING, lease_token__isnull=False, lease_until__isnull=False)
                | (~Q(status=Status.RUNNING) & Q(lease_token__isnull=True, lease_until__isnull=True)),
            ),
            models.CheckConstraint(
                name="generation_completed_has_image_and_cost",
                condition=Q(
                    status=Status.COMPLETED,
                    image__isnull=False,
                    cost_micros__isnull=False,
                    token_digest__isnull=False,
                    expires_at__isnull=False,
                )
                | (
                    ~Q(status=Status.COMPLETED)
                    & Q(image__isnull=True, cost_micros__isnull=True, token_digest__isnull=True)
                    & Q(expires_at__isnull=True)
                ),
            ),
            models.CheckConstraint(
                name="generation_ended_has_a_time",
                condition=Q(status__in=OPEN_STATUSES, ended_at__isnull=True)
                | Q(status__in=ENDED_STATUSES, ended_at__isnull=False),
            ),
            models.CheckConstraint(
                name="generation_cost_within_quote",
                condition=Q(cost_micros__isnull=True)
                | Q(cost_micros__gt=0, cost_micros__lte=F("quote_micros")),
            ),
            models.CheckConstraint(
                name="generation_attempts_capped", condition=Q(attempt_count__range=(0, MAX_ATTEMPTS))
            ),
            models.CheckConstraint(name="generation_status_known", condition=Q(status__in=Status.values)),
        ]

    def __str__(self) -> str:
        return f"generation {self.pk} ({self.status})"

    @property
    def is_open(self) -> bool:
        """Return True while the generation has not ended."""
        return self.status in OPEN_STATUSES

    @property
    def trace_id(self) -> str:
        """Return the id of the trace that it belongs to, or an empty text without one."""
        return self.traceparent[3:35]

    @property
    def size(self) -> str:
        """Return width and height in pixels in the form of a request: `1024x768`."""
        return f"{self.parameters['width']}x{self.parameters['height']}"

    @property
    def prompt_tokens(self) -> int | None:
        """Return how many tokens of the prompt the model has read, or None before that and after its erasure."""
        count: int | None = self.parameters.get("prompt_tokens")
        return count

    @property
    def prompt_tokens_read(self) -> int | None:
        """Return how many tokens of a longer prompt the model has read, or None for a prompt that was not cut."""
        count: int | None = self.parameters.get("prompt_tokens_read")
        return count

    @property
    def source_sizes(self) -> list[tuple[int, int]]:
        """Return width and height in pixels of the source images, none after the prompt is erased."""
        return [(width, height) for width, height in self.parameters.get("source_sizes", [])]


class MadePicture(models.Model):
    """A keyed digest of the pixels of a picture that was made here. It has no time, no order and no owner."""

    digest = models.BinaryField(primary_key=True, max_length=32)

    def __str__(self) -> str:
        return bytes(self.digest).hex()


class IdempotencyKey(models.Model):
    """A client's own key for one request, so that a retry finds its generation instead of buying another one."""

    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    # SHA-256 of the key, and HMAC-SHA-256 of the request's content, in hex.
    key_digest = models.CharField(max_length=64)
    request_digest = models.CharField(max_length=64)
    generation = models.ForeignKey(Generation, models.CASCADE, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        """Index for the deletion of old keys, and one row per account and key."""

        indexes = [models.Index("created_at", name="idempotency_age")]
        constraints = [
            models.UniqueConstraint(fields=["account", "key_digest"], name="idempotency_key_once"),
        ]

    def __str__(self) -> str:
        return f"idempotency key of generation {self.generation_id}"


class SourceImage(models.Model):
    """A sealed source image of an edit. `position` is 1 or 2, as the prompt may refer to it."""

    generation = models.ForeignKey(Generation, models.CASCADE, related_name="sources")
    position = models.PositiveSmallIntegerField()
    image = models.OneToOneField(StoredImage, models.PROTECT, related_name="+")

    class Meta:
        """Order by position, and one image per position."""

        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["generation", "position"], name="source_position_once"),
        ]

    def __str__(self) -> str:
        return f"source {self.position} of generation {self.generation_id}"


class UsageHour(models.Model):
    """The ended generations of one hour in UTC that have the same account, key, model, kind and size.

    The hour is that of the ledger entry that settled or released the hold. Only `workers.usage` writes it.
    """

    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    hour = models.DateTimeField()
    api_key = models.ForeignKey(ApiKey, models.PROTECT, null=True, related_name="+", db_index=False)
    model = models.CharField(max_length=64)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    size = models.CharField(max_length=16)
    completed = models.IntegerField()
    failed = models.IntegerField()
    cancelled = models.IntegerField()
    cost_micros = models.BigIntegerField()
    # Histograms of the completed ones: their time in the queue, and in the making. `workers.usage.histograms` has the
    # bounds.
    wait_counts = ArrayField(models.IntegerField())
    make_counts = ArrayField(models.IntegerField())

    class Meta:
        """One row for each combination, whose index also finds an account's hours."""

        constraints = [
            models.UniqueConstraint(
                fields=["account", "hour", "api_key", "model", "kind", "size"],
                name="usage_hour_once",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                name="usage_hour_counts",
                condition=Q(completed__gte=0, failed__gte=0, cancelled__gte=0)
                & (Q(completed__gt=0) | Q(failed__gt=0) | Q(cancelled__gt=0)),
            ),
            models.CheckConstraint(
                name="usage_hour_cost",
                condition=Q(Exact(Mod(F("cost_micros"), 100), 0))
                & (Q(completed=0, cost_micros=0) | Q(completed__gt=0, cost_micros__gt=0)),
            ),
        ]

        # Rows come in the order of their hours, so this index of a few pages finds the hours of all accounts.
        indexes = [BrinIndex(name="usage_hour_of_all", fields=["hour"], autosummarize=True)]

    def __str__(self) -> str:
        return f"usage of account {self.account_id} in the hour of {self.hour:%Y-%m-%d %H:%M}"


class UsageProgress(models.Model):
    """The progress of the roll-up, in one row: all hours before `closed_until` are in `UsageHour`, and never change.

    Hours before `pending_until` can be closed once every transaction with an id below `pending_xid` has ended.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    closed_until = models.DateTimeField()
    pending_until = models.DateTimeField(null=True)
    pending_xid = models.BigIntegerField(null=True)

    class Meta:
        """The constraint that there is one row."""

        constraints = [models.CheckConstraint(name="usage_progress_once", condition=Q(id=1))]

    def __str__(self) -> str:
        return f"usage is rolled up until {self.closed_until:%Y-%m-%d %H:%M}"
