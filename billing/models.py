"""The tables of money. Constraints check every row. Other modules do not write them.

Those that do are `ledger`, `holds`, `keys`, `key_changes`, `accounts` and `limits`. The tables of money that comes in
have modules of their own.
"""

from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Now

# Django registers the tables that this module knows.
from billing import alert_models, card_models, debt_models, income_models, membership_models  # noqa: F401
from billing.constraints import whole

# The scopes of a key for which nobody names any. `grants` explains them.
USUAL_SCOPES: Final = ("generate", "read", "delete", "usage")


def _default_scopes() -> list[str]:
    return list(USUAL_SCOPES)


class Account(models.Model):
    """A prepaid balance, the totals of its history and its status."""

    class Status(models.TextChoices):
        """The permission to hold money for new work."""

        ACTIVE = "active"
        SUSPENDED = "suspended"

    name = models.CharField(max_length=100, unique=True)
    status = models.CharField(max_length=9, choices=Status, default=Status.ACTIVE)
    balance_micros = models.BigIntegerField(default=0)
    reserved_micros = models.BigIntegerField(default=0)
    spent_micros = models.BigIntegerField(default=0)
    settlement_count = models.BigIntegerField(default=0)
    # The first field counts all holds of the account, and the second the unresolved ones.
    hold_count = models.BigIntegerField(default=0, db_default=0)
    open_hold_count = models.BigIntegerField(default=0, db_default=0)
    # The unresolved holds of asynchronous work, which have a limit of their own.
    open_async_count = models.BigIntegerField(default=0, db_default=0)
    entry_count = models.BigIntegerField(default=0)
    # The part of reversed card payments that the account could not pay. Credits pay it first.
    debt_micros = models.BigIntegerField(default=0, db_default=0)
    # Limits of the account's own. Without a value, the published one holds. `limits` reads and changes them.
    requests_per_minute = models.IntegerField(null=True, blank=True)
    open_limit = models.IntegerField(null=True, blank=True)
    queue_limit = models.IntegerField(null=True, blank=True)
    # The webhooks of the account that the service has disabled, so that every reply can say so.
    disabled_webhook_count = models.SmallIntegerField(default=0, db_default=0, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        """The constraints of the table."""

        constraints = [
            # On the command line a name that only has digits would look like another account's id.
            models.CheckConstraint(name="account_name", condition=Q(name__regex=r"[^0-9\s]")),
            models.CheckConstraint(name="account_status", condition=Q(status__in=["active", "suspended"])),
            models.CheckConstraint(
                name="account_reserved_within_balance",
                condition=Q(reserved_micros__gte=0, balance_micros__gte=F("reserved_micros")),
            ),
            models.CheckConstraint(
                name="account_totals_not_negative",
                condition=Q(spent_micros__gte=0, settlement_count__gte=0, entry_count__gte=0),
            ),
            models.CheckConstraint(
                name="account_holds",
                condition=Q(open_hold_count__gte=0, hold_count__gte=F("open_hold_count")),
            ),
            models.CheckConstraint(
                name="account_async_holds",
                condition=Q(open_async_count__gte=0, open_hold_count__gte=F("open_async_count")),
            ),
            models.CheckConstraint(
                name="account_limits",
                condition=Q(
                    Q(requests_per_minute__isnull=True) | Q(requests_per_minute__gte=1),
                    Q(open_limit__isnull=True) | Q(open_limit__gte=1),
                    Q(queue_limit__isnull=True) | Q(queue_limit__gte=1),
                ),
            ),
            models.CheckConstraint(
                name="account_debt", condition=Q(debt_micros__gte=0) & whole("debt_micros")
            ),
            models.CheckConstraint(
                name="account_multiples_of_100_micros",
                condition=whole("balance_micros", "reserved_micros", "spent_micros"),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def available_micros(self) -> int:
        """The amount that can still be held: the balance minus the reserved amount."""
        return self.balance_micros - self.reserved_micros


class ApiKey(models.Model):
    """A key of an account.

    The row has only a keyed hash of the key's text. People recognise it by both its ends.
    """

    class SpendPeriod(models.TextChoices):
        """The time, in UTC, in which a key may spend its limit."""

        DAY = "day"
        MONTH = "month"
        TOTAL = "total"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="keys")
    name = models.CharField(max_length=100, blank=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    # The name of the pepper under which the digest was made. It is empty until a key of an older release is used.
    pepper = models.CharField(max_length=8, blank=True, default="", db_default="", editable=False)
    prefix = models.CharField(max_length=12, editable=False)
    last_four = models.CharField(max_length=4, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Up to a minute old. A key that was never used has none, nor has one that was last used by an older release.
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    # After a rotation the former text opens the same until this time.
    # Whether the present text was used since the rotation that made it.
    is_text_used = models.BooleanField(default=True, db_default=True, editable=False)
    former_digest = models.CharField(max_length=64, blank=True, default="", db_default="", editable=False)
    former_pepper = models.CharField(max_length=8, blank=True, default="", db_default="", editable=False)
    former_until = models.DateTimeField(null=True, blank=True, editable=False)
    # What the key grants. `grants` explains and checks it. Without a value, only the account's bounds hold.
    scopes = ArrayField(
        models.CharField(max_length=16),
        default=_default_scopes,
        db_default=Value(f"{{{','.join(USUAL_SCOPES)}}}"),
    )
    allowed_ips = ArrayField(models.CharField(max_length=43), null=True, blank=True)
    allowed_models = ArrayField(models.CharField(max_length=200), null=True, blank=True)
    requests_per_minute = models.IntegerField(null=True, blank=True)
    open_limit = models.IntegerField(null=True, blank=True)
    spend_limit_micros = models.BigIntegerField(null=True, blank=True)
    spend_period = models.CharField(
        max_length=5, choices=SpendPeriod, default=SpendPeriod.MONTH, db_default=SpendPeriod.MONTH
    )
    metadata = models.JSONField(default=dict, db_default=Value({}, models.JSONField()), blank=True)
    # What the key holds, and what it holds and has spent by holds made since the start of its period. Only `holds` and
    # `key_changes` write them. `spend_ceiling_micros` is the limit that the newest hold kept.
    open_hold_count = models.BigIntegerField(default=0, db_default=0, editable=False)
    counted_since = models.DateTimeField(null=True, blank=True, editable=False)
    held_micros = models.BigIntegerField(default=0, db_default=0, editable=False)
    spent_micros = models.BigIntegerField(default=0, db_default=0, editable=False)
    spend_ceiling_micros = models.BigIntegerField(null=True, blank=True, editable=False)
    # The highest percentage of the limit that was told, in the period that began at `told_since`. `alerts` writes them.
    told_percent = models.SmallIntegerField(default=0, db_default=0, editable=False)
    told_since = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        """The constraints and the index of the table, and the model's name in the admin."""

        verbose_name = "API key"
        indexes = [models.Index(name="apikey_former", fields=["former_digest"])]
        constraints = [
            models.CheckConstraint(
                name="apikey_counters_not_negative",
                condition=Q(open_hold_count__gte=0, held_micros__gte=0, spent_micros__gte=0),
            ),
            # The statement of a hold asks first. This refuses one that forgot it.
            models.CheckConstraint(
                name="apikey_within_spend_limit",
                condition=Q(spend_ceiling_micros__isnull=True)
                | Q(spend_ceiling_micros__gte=F("held_micros") + F("spent_micros")),
            ),
            models.CheckConstraint(
                name="apikey_limits",
                condition=Q(
                    Q(requests_per_minute__isnull=True) | Q(requests_per_minute__gte=1),
                    Q(open_limit__isnull=True) | Q(open_limit__gte=1),
                    Q(spend_limit_micros__isnull=True)
                    | (Q(spend_limit_micros__gt=0) & whole("spend_limit_micros")),
                ),
            ),
            models.CheckConstraint(
                name="apikey_spend_period", condition=Q(spend_period__in=["day", "month", "total"])
            ),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}…{self.last_four}"


class Reservation(models.Model):
    """A hold of one generation's quote. It is resolved once: settled in part or in whole, or released."""

    class Resolution(models.TextChoices):
        """The end of the hold, which is empty while the hold is open."""

        OPEN = ""
        SETTLED = "settled"
        RELEASED = "released"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="reservations")
    quote_micros = models.BigIntegerField()
    # The hold counts among the account's asynchronous ones while it is open.
    is_async = models.BooleanField(default=False, db_default=False)
    # The key whose counters the hold moved. Holds of older releases moved none.
    api_key = models.ForeignKey(
        ApiKey, on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    resolution = models.CharField(max_length=8, choices=Resolution, default=Resolution.OPEN, blank=True)
    settled_micros = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """The constraints and the index of the table."""

        constraints = [
            models.CheckConstraint(
                name="reservation_quote", condition=Q(quote_micros__gt=0) & whole("quote_micros")
            ),
            models.CheckConstraint(
                name="reservation_resolution",
                condition=Q(resolution="", resolved_at__isnull=True)
                | Q(resolution__in=["settled", "released"], resolved_at__isnull=False),
            ),
            models.CheckConstraint(
                name="reservation_settled_within_quote",
                condition=Q(
                    whole("settled_micros"),
                    resolution="settled",
                    settled_micros__isnull=False,
                    settled_micros__gte=1,
                    settled_micros__lte=F("quote_micros"),
                )
                | (~Q(resolution="settled") & Q(settled_micros__isnull=True)),
            ),
        ]
        indexes = [
            models.Index(name="reservation_open", fields=["account"], condition=Q(resolution="")),
        ]

    def __str__(self) -> str:
        return f"reservation {self.pk}"


class LedgerEntry(models.Model):
    """One movement of an account's money, with the balance after it.

    A trigger refuses every change of an entry.
    """

    class Kind(models.TextChoices):
        """The kind of movement, which gives the direction of the amount. The amount is always positive."""

        CREDIT = "credit"
        REFUND = "refund"
        HOLD = "hold"
        SETTLE = "settle"
        RELEASE = "release"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="entries")
    sequence = models.BigIntegerField()
    kind = models.CharField(max_length=7, choices=Kind)
    amount_micros = models.BigIntegerField()
    balance_after_micros = models.BigIntegerField()
    reserved_after_micros = models.BigIntegerField()
    reservation = models.ForeignKey(
        Reservation, on_delete=models.PROTECT, null=True, blank=True, related_name="entries"
    )
    # The key that asked for a hold. Holds of older releases have none.
    api_key = models.ForeignKey(
        ApiKey, on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    actor = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    # The id of a form in the admin, so that a second click on the same form moves nothing.
    request_id = models.UUIDField(null=True, blank=True, unique=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        """The constraints and the index of the table, and the model's name in the admin."""

        verbose_name_plural = "ledger entries"
        constraints = [
            models.UniqueConstraint(name="entry_sequence", fields=["account", "sequence"]),
            models.UniqueConstraint(
                name="entry_one_hold_a_reservation", fields=["reservation"], condition=Q(kind="hold")
            ),
            models.UniqueConstraint(
                name="entry_one_resolution_a_reservation",
                fields=["reservation"],
                condition=Q(kind__in=["settle", "release"]),
            ),
            models.CheckConstraint(
                name="entry_kind",
                condition=Q(kind__in=["hold", "settle", "release"], reservation__isnull=False)
                | Q(kind__in=["credit", "refund"], reservation__isnull=True),
            ),
            # An entry that a person makes must name that person and the reason.
            models.CheckConstraint(
                name="entry_actor_and_reason",
                condition=~Q(kind__in=["credit", "refund"])
                | (Q(actor__regex=r"\S") & Q(reason__regex=r"\S")),
            ),
            models.CheckConstraint(
                name="entry_key_of_hold", condition=Q(kind="hold") | Q(api_key__isnull=True)
            ),
            models.CheckConstraint(
                name="entry_amounts",
                condition=Q(
                    whole("amount_micros", "balance_after_micros", "reserved_after_micros"),
                    sequence__gte=1,
                    amount_micros__gt=0,
                    reserved_after_micros__gte=0,
                    balance_after_micros__gte=F("reserved_after_micros"),
                ),
            ),
        ]
        indexes = [
            # They are few among the entries of an account. Holds and their ends write nothing into it.
            models.Index(
                "account", "sequence", name="entry_of_person", condition=Q(kind__in=["credit", "refund"])
            ),
        ]

    def __str__(self) -> str:
        return f"entry {self.sequence} of account {self.account_id}"
