"""The tables of card payments through Stripe. Constraints check every row.

Only `card_top_ups` and `card_refunds` write them. All amounts are US dollars.
"""

from typing import Final
from uuid import uuid4

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Mod, Now
from django.db.models.lookups import Exact

# Cards are charged in whole cents.
MICROS_PER_CENT: Final = 10_000


def _cents(field: str) -> Q:
    """Return the condition that the field is a number of whole cents."""
    return Q(Exact(Mod(F(field), MICROS_PER_CENT), 0))


class TopUpOrder(models.Model):
    """A customer's wish to pay an amount by card. Its id is also the `request_id` of its credit."""

    class Status(models.TextChoices):
        """The state of the payment. Only `paid` is final: a late payment of any order is credited."""

        PENDING = "pending"
        PAID = "paid"
        EXPIRED = "expired"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    account = models.ForeignKey("billing.Account", on_delete=models.PROTECT, related_name="top_up_orders")
    amount_micros = models.BigIntegerField()
    status = models.CharField(max_length=7, choices=Status, default=Status.PENDING)
    # Stripe's Checkout Session and the page on which the customer pays. Empty until Stripe has made them.
    session_id = models.CharField(max_length=255, blank=True, default="")
    url = models.TextField(blank=True, default="")
    # Stripe's name of the payment, by which its refunds and disputes are found.
    payment_intent_id = models.CharField(max_length=255, null=True, blank=True, unique=True)
    # The sum of all refunds as Stripe told it, and as it will be with those that staff asked for. Both have the refunds
    # that failed later, so events of any order come to the same sums.
    refunded_micros = models.BigIntegerField(default=0, db_default=0)
    refund_asked_micros = models.BigIntegerField(default=0, db_default=0)
    refund_failed_micros = models.BigIntegerField(default=0, db_default=0)
    # The part that refunds and disputes have taken out of the account again.
    taken_micros = models.BigIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    paid_at = models.DateTimeField(null=True, blank=True)
    # When Stripe was last asked for the state of a pending order.
    checked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """The constraints and the indexes of the table."""

        constraints = [
            models.CheckConstraint(
                name="order_amount", condition=Q(amount_micros__gt=0) & _cents("amount_micros")
            ),
            models.CheckConstraint(
                name="order_status",
                condition=Q(status="paid", paid_at__isnull=False)
                | Q(status__in=["pending", "expired", "failed"], paid_at__isnull=True, taken_micros=0),
            ),
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
        ]
        indexes = [
            models.Index(name="order_pending", fields=["created_at"], condition=Q(status="pending")),
            models.Index(name="order_history", fields=["account", "-created_at"]),
        ]

    def __str__(self) -> str:
        return f"top-up {self.pk}"

    @property
    def refund_micros(self) -> int:
        """The sum of all refunds that are known and did not fail, whether or not Stripe has told them."""
        return max(self.refunded_micros, self.refund_asked_micros) - self.refund_failed_micros


class CardDispute(models.Model):
    """A dispute by which a customer's bank takes money back. `is_won` if the bank gave it back."""

    stripe_id = models.CharField(max_length=255, unique=True)
    order = models.ForeignKey(TopUpOrder, on_delete=models.PROTECT, related_name="disputes")
    amount_micros = models.BigIntegerField()
    is_won = models.BooleanField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        """The constraint of the table."""

        constraints = [
            models.CheckConstraint(
                name="dispute_amount", condition=Q(amount_micros__gt=0) & _cents("amount_micros")
            ),
        ]

    def __str__(self) -> str:
        return f"dispute {self.stripe_id}"


class CardRefund(models.Model):
    """A refund that staff asked for. The account has paid it before Stripe is asked. Its id is the movement's."""

    class Status(models.TextChoices):
        """The answer of Stripe. A refund that failed after it was done is refused as well."""

        PENDING = "pending"
        DONE = "done"
        REFUSED = "refused"

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    order = models.ForeignKey(TopUpOrder, on_delete=models.PROTECT, related_name="refunds")
    amount_micros = models.BigIntegerField()
    status = models.CharField(max_length=7, choices=Status, default=Status.PENDING)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        """The constraints and the index of the table."""

        constraints = [
            models.CheckConstraint(
                name="card_refund_amount", condition=Q(amount_micros__gt=0) & _cents("amount_micros")
            ),
            models.CheckConstraint(
                name="card_refund_status", condition=Q(status__in=["pending", "done", "refused"])
            ),
        ]
        indexes = [
            models.Index(name="card_refund_pending", fields=["created_at"], condition=Q(status="pending")),
        ]

    def __str__(self) -> str:
        return f"card refund {self.pk}"


class ToldRefund(models.Model):
    """A refund as Stripe tells it, whoever asked for it. What failed once stays so."""

    stripe_id = models.CharField(max_length=255, unique=True)
    order = models.ForeignKey(TopUpOrder, on_delete=models.PROTECT, related_name="told_refunds")
    amount_micros = models.BigIntegerField()
    is_failed = models.BooleanField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        """The constraint of the table."""

        constraints = [
            models.CheckConstraint(
                name="told_refund_amount", condition=Q(amount_micros__gt=0) & _cents("amount_micros")
            ),
        ]

    def __str__(self) -> str:
        return f"refund {self.stripe_id}"


class CardMovement(models.Model):
    """Money of an order that was taken out of its account again, or given back.

    Its id is the `request_id` of its entry in the ledger, and of the debt for what the account did not have.
    """

    class Kind(models.TextChoices):
        """The direction."""

        TAKEN = "taken"
        GIVEN_BACK = "given_back"

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    order = models.ForeignKey(TopUpOrder, on_delete=models.PROTECT, related_name="movements")
    kind = models.CharField(max_length=10, choices=Kind)
    amount_micros = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        """The constraints of the table."""

        constraints = [
            models.CheckConstraint(
                name="movement_amount", condition=Q(amount_micros__gt=0) & _cents("amount_micros")
            ),
            models.CheckConstraint(name="movement_kind", condition=Q(kind__in=["taken", "given_back"])),
        ]

    def __str__(self) -> str:
        return f"movement {self.pk}"
