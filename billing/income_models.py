"""The tables of money that comes in by itself. Constraints check every row.

Only `codes` writes them.
"""

from uuid import uuid4

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from billing.constraints import whole


class RedemptionCode(models.Model):
    """A code that credits its amount to the first account that redeems it.

    The row has only a keyed hash of the code's text. People recognise it by its end.
    """

    digest = models.CharField(max_length=64, unique=True, editable=False)
    # The name of the pepper under which the digest was made.
    pepper = models.CharField(max_length=8, editable=False)
    last_four = models.CharField(max_length=4, editable=False)
    amount_micros = models.BigIntegerField()
    # The `request_id` of its credit, which the ledger accepts once.
    credit_id = models.UUIDField(unique=True, default=uuid4, editable=False)
    created_by = models.CharField(max_length=150, editable=False)
    reason = models.CharField(max_length=500)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    redeemed_at = models.DateTimeField(null=True, blank=True, editable=False)
    redeemed_by = models.ForeignKey(
        "billing.Account", on_delete=models.PROTECT, null=True, blank=True, related_name="+", editable=False
    )

    class Meta:
        """The constraints of the table."""

        constraints = [
            models.CheckConstraint(
                name="code_amount", condition=Q(amount_micros__gt=0) & whole("amount_micros")
            ),
            models.CheckConstraint(
                name="code_end",
                condition=Q(redeemed_at__isnull=True, redeemed_by__isnull=True)
                | Q(redeemed_at__isnull=False, redeemed_by__isnull=False, revoked_at__isnull=True),
            ),
            models.CheckConstraint(
                name="code_actor_and_reason", condition=Q(created_by__regex=r"\S", reason__regex=r"\S")
            ),
        ]

    def __str__(self) -> str:
        return f"code {self.pk} (…{self.last_four})"
