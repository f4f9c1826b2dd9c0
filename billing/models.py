"""The tables of money. What must hold of a row is a constraint; `ledger` and `keys` alone write them."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Mod, Now
from django.db.models.lookups import Exact


def _whole(*fields: str) -> Q:
    """Every field is a multiple of 100 micros, so that four decimal places show all of it."""
    condition = Q()
    for field in fields:
        condition &= Q(Exact(Mod(F(field), 100), 0))
    return condition


class Account(models.Model):
    """A prepaid balance, the totals of its history, and whether it may spend."""

    class Status(models.TextChoices):
        """Whether the account may hold money for new work."""

        ACTIVE = "active"
        SUSPENDED = "suspended"

    name = models.CharField(max_length=100, unique=True)
    status = models.CharField(max_length=9, choices=Status, default=Status.ACTIVE)
    balance_micros = models.BigIntegerField(default=0)
    reserved_micros = models.BigIntegerField(default=0)
    spent_micros = models.BigIntegerField(default=0)
    settlement_count = models.BigIntegerField(default=0)
    # All holds there ever were, and those that are not resolved.
    hold_count = models.BigIntegerField(default=0, db_default=0)
    open_hold_count = models.BigIntegerField(default=0, db_default=0)
    entry_count = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            # A name of digits alone could be taken for another account's id on the command line.
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
                name="account_multiples_of_100_micros",
                condition=_whole("balance_micros", "reserved_micros", "spent_micros"),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def available_micros(self) -> int:
        """What can still be held: the balance without what is reserved."""
        return self.balance_micros - self.reserved_micros


class ApiKey(models.Model):
    """A key of an account. Only a keyed hash of its text is here; the prefix and last four are for people."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="keys")
    name = models.CharField(max_length=100, blank=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    prefix = models.CharField(max_length=12, editable=False)
    last_four = models.CharField(max_length=4, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.prefix}…{self.last_four}"


class Reservation(models.Model):
    """Money held for one generation at its quote, resolved once: settled in part or whole, or released."""

    class Resolution(models.TextChoices):
        """How the hold ended; empty while it has not."""

        OPEN = ""
        SETTLED = "settled"
        RELEASED = "released"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="reservations")
    quote_micros = models.BigIntegerField()
    resolution = models.CharField(max_length=8, choices=Resolution, default=Resolution.OPEN, blank=True)
    settled_micros = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="reservation_quote", condition=Q(quote_micros__gt=0) & _whole("quote_micros")
            ),
            models.CheckConstraint(
                name="reservation_resolution",
                condition=Q(resolution="", resolved_at__isnull=True)
                | Q(resolution__in=["settled", "released"], resolved_at__isnull=False),
            ),
            models.CheckConstraint(
                name="reservation_settled_within_quote",
                condition=Q(
                    _whole("settled_micros"),
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
    """One movement of an account's money with the balance after it. Never changed: a trigger refuses it."""

    class Kind(models.TextChoices):
        """Gives the direction of the amount, which is always positive."""

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
    actor = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    # What a person's one click is known by, so that a second one of the same form moves nothing.
    request_id = models.UUIDField(null=True, blank=True, unique=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
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
            # Money that people move says who moved it and why.
            models.CheckConstraint(
                name="entry_actor_and_reason",
                condition=~Q(kind__in=["credit", "refund"])
                | (Q(actor__regex=r"\S") & Q(reason__regex=r"\S")),
            ),
            models.CheckConstraint(
                name="entry_amounts",
                condition=Q(
                    _whole("amount_micros", "balance_after_micros", "reserved_after_micros"),
                    sequence__gte=1,
                    amount_micros__gt=0,
                    reserved_after_micros__gte=0,
                    balance_after_micros__gte=F("reserved_after_micros"),
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"entry {self.sequence} of account {self.account_id}"
