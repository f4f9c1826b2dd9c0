"""The table of debts. Constraints check every row. Only `ledger` writes it."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from billing.constraints import whole


class DebtEntry(models.Model):
    """One change of an account's debt, with the debt after it. A trigger refuses every change of an entry.

    A debt is the part of a reversed payment that was not available any more. The next credits pay it.
    """

    class Kind(models.TextChoices):
        """The direction of the amount, which is always positive."""

        RAISED = "raised"
        PAID = "paid"

    account = models.ForeignKey("billing.Account", on_delete=models.PROTECT, related_name="debt_entries")
    kind = models.CharField(max_length=6, choices=Kind)
    amount_micros = models.BigIntegerField()
    debt_after_micros = models.BigIntegerField()
    # A raised debt has the id of the reversal, as the entry of its other part in the ledger has.
    request_id = models.UUIDField(null=True, blank=True, unique=True)
    # A paid debt has the entry in the ledger that took the money out of the balance.
    ledger_entry = models.OneToOneField(
        "billing.LedgerEntry", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    reason = models.CharField(max_length=500)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        """The constraints of the table and the model's name in the admin."""

        verbose_name_plural = "debt entries"
        constraints = [
            models.CheckConstraint(
                name="debt_amounts",
                condition=Q(
                    whole("amount_micros", "debt_after_micros"),
                    amount_micros__gt=0,
                    debt_after_micros__gte=0,
                ),
            ),
            models.CheckConstraint(
                name="debt_kind",
                condition=Q(kind="raised", request_id__isnull=False, ledger_entry__isnull=True)
                | Q(kind="paid", request_id__isnull=True, ledger_entry__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"debt entry {self.pk} of account {self.account_id}"
