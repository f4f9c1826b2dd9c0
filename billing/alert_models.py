"""The table of the alerts that accounts want."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q


class AlertSettings(models.Model):
    """The alerts that an account wants. `alerts` writes them. An account without a row gets none."""

    account = models.OneToOneField(
        "billing.Account", on_delete=models.PROTECT, primary_key=True, related_name="+"
    )
    # The balance below which the account is told, once until it is back.
    low_balance_micros = models.BigIntegerField(null=True, blank=True)
    low_balance_told_at = models.DateTimeField(null=True, blank=True, editable=False)
    # The percentages of the limits of spending at which a key is told, once each in a period.
    key_percents = ArrayField(models.SmallIntegerField())
    email = models.EmailField(blank=True)

    class Meta:
        """The constraint of the table and the model's name in the admin."""

        verbose_name_plural = "alert settings"
        constraints = [
            models.CheckConstraint(
                name="alertsettings_low_balance",
                condition=Q(low_balance_micros__isnull=True) | Q(low_balance_micros__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return f"alerts of account {self.account_id}"
