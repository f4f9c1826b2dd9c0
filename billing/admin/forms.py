"""Forms of the staff's pages: amounts in dollars come out as micros."""

from typing import Any
from uuid import uuid4

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from billing import money
from billing.models import Account, ApiKey


class DollarsField(forms.CharField):
    """An amount such as 10.00; its clean value is micros."""

    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "size": 14})

    def to_python(self, value: Any) -> Any:
        """Micros, or None where nothing was typed."""
        text = super().to_python(value)
        if not text:
            return None
        try:
            return money.parse_usd(text)
        except ValueError as error:
            raise ValidationError(str(error)) from error


class OpenAccountForm(forms.ModelForm):  # type: ignore[type-arg] # Django's class takes its parameter in stubs alone
    """A name and what the account starts with."""

    opening_micros = DollarsField(label="Starting balance (USD)", initial="10.00")

    class Meta:
        model = Account
        fields = ["name"]

    def clean_name(self) -> str:
        """Refuses what the database would: a name has something besides digits and spaces."""
        name = str(self.cleaned_data["name"])
        if not any(not character.isspace() and character not in "0123456789" for character in name):
            raise ValidationError("A name is not a number.")
        return name


class MoveMoneyForm(forms.Form):
    """How much, and why; and what the form is known by, so that a double click moves the money once."""

    amount_micros = DollarsField(label="Amount (USD)")
    reason = forms.CharField(max_length=500, widget=forms.TextInput(attrs={"size": 60}))
    request_id = forms.UUIDField(widget=forms.HiddenInput, initial=uuid4)

    def clean_amount_micros(self) -> int:
        """Refuses to move nothing."""
        amount_micros = int(self.cleaned_data["amount_micros"])
        if amount_micros == 0:
            raise ValidationError("Say an amount over zero.")
        return amount_micros


class IssueKeyForm(forms.ModelForm):  # type: ignore[type-arg] # as above
    """Whose key, what people call it, and when it ends, if ever."""

    class Meta:
        model = ApiKey
        fields = ["account", "name", "expires_at"]

    def clean_expires_at(self) -> Any:
        """Refuses a key that would be born expired."""
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise ValidationError("This is not ahead.")
        return expires_at
