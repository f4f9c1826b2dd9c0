"""The forms of the page Billing: a code, a top-up by card, and the alerts."""

import re
from typing import Any, Final

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import QueryDict

from billing import alerts, codes
from billing.alert_models import AlertSettings
from zekron_api.console.usd_field import UsdField
from zekron_api.endpoints.alerts import MAX_EMAIL_CHARACTERS

_PERCENT: Final = re.compile(r"[0-9]{1,3}")


class CodeForm(forms.Form):
    """The text of a redemption code."""

    code = forms.CharField(
        label="Redemption code",
        max_length=codes.MAX_CHARACTERS,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "class": "code"}),
        help_text="Spaces, hyphens and capital letters do not matter.",
    )


class TopUpForm(forms.Form):
    """The amount of a top-up by card. The domain knows its bounds."""

    amount = UsdField(label="Amount in USD")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        least, most = settings.TOP_UP_MIN_USD, settings.TOP_UP_MAX_USD
        self.fields[
            "amount"
        ].help_text = f"From {least} to {most} USD, in whole cents. You pay on Stripe's page."


class AlertsForm(forms.Form):
    """The alerts that an account wants. An empty field stands for none."""

    low_balance = UsdField(
        label="Warn below this balance in USD",
        required=False,
        help_text="One warning each time the balance falls below it. Empty: never.",
    )
    percents = forms.CharField(
        label="Warn at these percentages of a key's limit",
        required=False,
        help_text=f"At most {alerts.MAX_PERCENTS} whole numbers from 1 to 100, such as 50, 80, 100. Empty: never.",
    )
    email = forms.EmailField(
        label="Email address",
        required=False,
        max_length=MAX_EMAIL_CHARACTERS,
        help_text="Alerts also go to your webhooks. Empty: no email.",
    )

    def __init__(self, sent: QueryDict | None = None, *, own: AlertSettings) -> None:
        initial = {
            "low_balance": own.low_balance_micros,
            "percents": ", ".join(map(str, own.key_percents)),
            "email": own.email,
        }
        super().__init__(sent, initial=initial)
        if not settings.SENDS_MAIL:
            self.fields["email"].disabled = True
            self.fields["email"].help_text = "This service sends no email. Alerts go to your webhooks."

    def clean_percents(self) -> list[int]:
        """Return the numbers, in their order. Raises ValidationError."""
        parts = re.split(r"[,\s%]+", self.cleaned_data["percents"].strip(", %"))
        texts = [part for part in parts if part]
        numbers = sorted({int(text) for text in texts if _PERCENT.fullmatch(text)})
        is_valid = all(_PERCENT.fullmatch(text) for text in texts) and all(
            1 <= each <= 100 for each in numbers
        )
        if not is_valid or len(numbers) > alerts.MAX_PERCENTS:
            message = f"Enter at most {alerts.MAX_PERCENTS} whole numbers from 1 to 100, such as 50, 80, 100."
            raise ValidationError(message)
        return numbers
