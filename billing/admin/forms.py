"""The forms of the admin pages, which convert amounts in dollars to micros."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from billing import account_names, accounts, bounds, codes, invitations, limits, money
from billing.income_models import RedemptionCode
from billing.membership_models import Role
from billing.models import Account


class DollarsField(forms.CharField):
    """An amount in dollars such as 10.00. Its clean value is in micros."""

    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "size": 14})

    def prepare_value(self, value: Any) -> Any:
        """Return micros as people write them, and what somebody wrote as it is."""
        return money.format_usd(value) if isinstance(value, int) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare amounts, however they are written."""
        return super().has_changed(self.prepare_value(initial), data)

    def to_python(self, value: Any) -> Any:
        """Return the micros, or None for an empty field."""
        text = super().to_python(value)
        if not text:
            return None
        try:
            return money.parse_usd(text)
        except ValueError as error:
            raise ValidationError(str(error)) from error


class OpenAccountForm(forms.ModelForm):  # type: ignore[type-arg] # Django's class takes its parameter in stubs alone
    """The form of a new account: its name and its starting balance."""

    opening_micros = DollarsField(label="Starting balance (USD)", initial=accounts.DEFAULT_OPENING_USD)

    class Meta:
        """The model and its fields."""

        model = Account
        fields = ["name"]

    def clean_name(self) -> str:
        """Return the name as accounts have it, and refuse what cannot be one."""
        try:
            return account_names.normalise(str(self.cleaned_data["name"]))
        except ValueError as error:
            raise ValidationError(str(error)) from error


class OpenAccountWithinDefaultForm(OpenAccountForm):
    """The form of a new account for staff who may open accounts but may not move money."""

    def clean_opening_micros(self) -> int:
        """Refuse a starting balance over the default, because it would be a top-up."""
        opening_micros = int(self.cleaned_data["opening_micros"])
        if opening_micros > money.parse_usd(accounts.DEFAULT_OPENING_USD):
            raise ValidationError(
                f"Starting balance must not be over {accounts.DEFAULT_OPENING_USD} USD. "
                "A higher one needs the permission to change accounts, which also tops up."
            )
        return opening_micros


class MoveMoneyForm(forms.Form):
    """The form of a top-up or refund: amount and reason. Its id makes a double click move the money once."""

    amount_micros = DollarsField(label="Amount (USD)")
    reason = forms.CharField(max_length=500, widget=forms.TextInput(attrs={"size": 60}))
    request_id = forms.UUIDField(widget=forms.HiddenInput, initial=uuid4)

    def clean_amount_micros(self) -> int:
        """Refuse an amount of zero."""
        amount_micros = int(self.cleaned_data["amount_micros"])
        if amount_micros == 0:
            raise ValidationError("Amount must be over zero.")
        return amount_micros


class LimitsForm(forms.ModelForm):  # type: ignore[type-arg] # as above
    """The form of an account's own limits. An empty field stands for the published limit, which it shows."""

    requests_per_minute = forms.IntegerField(
        label="Requests in any 60 seconds",
        required=False,
        min_value=bounds.MIN_LIMIT,
        max_value=bounds.MAX_REQUESTS_PER_MINUTE,
    )
    open_limit = forms.IntegerField(
        label="Open generations that clients wait for",
        required=False,
        min_value=bounds.MIN_LIMIT,
        max_value=bounds.MAX_OPEN,
    )
    queue_limit = forms.IntegerField(
        label="Open asynchronous generations",
        required=False,
        min_value=bounds.MIN_LIMIT,
        max_value=bounds.MAX_OPEN,
    )

    class Meta:
        """The model and its fields."""

        model = Account
        fields = ["requests_per_minute", "open_limit", "queue_limit"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field, published in zip(self.fields.values(), limits.limits_of(Account()), strict=True):
            field.widget.attrs["placeholder"] = str(published)


class CreateCodesForm(forms.ModelForm):  # type: ignore[type-arg] # as above
    """The form of new redemption codes: the amount of each, their number, their expiry and their reason."""

    amount_micros = DollarsField(label="Amount of each (USD)")
    count = forms.IntegerField(initial=1, min_value=1, max_value=codes.MAX_COUNT)

    class Meta:
        """The model and its fields."""

        model = RedemptionCode
        fields = ["amount_micros", "expires_at", "reason"]

    def clean_amount_micros(self) -> int:
        """Refuse an amount of zero."""
        amount_micros = int(self.cleaned_data["amount_micros"])
        if amount_micros == 0:
            raise ValidationError("Amount must be over zero.")
        return amount_micros

    def clean_expires_at(self) -> datetime:
        """Refuse an expiry in the past, or very far ahead."""
        expires_at: datetime = self.cleaned_data["expires_at"]
        if not timedelta(0) < expires_at - timezone.now() <= timedelta(days=codes.MAX_VALID_DAYS):
            raise ValidationError(f"Expiry must be in the next {codes.MAX_VALID_DAYS} days.")
        return expires_at


class InviteForm(forms.Form):
    """The form of an invitation into an account."""

    email = forms.EmailField(
        label="E-mail",
        max_length=invitations.MAX_EMAIL_CHARACTERS,
        widget=forms.EmailInput(attrs={"size": 40, "autocomplete": "off"}),
    )
    role = forms.ChoiceField(choices=Role.choices, initial=Role.MEMBER)
