"""The forms of keys in the console."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from django import forms
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone
from django.utils.text import capfirst

from billing import bounds, grants, keys
from billing.admin.forms import DollarsField
from billing.admin.key_forms import LinesField
from billing.grants import Grants, InvalidGrant, Scope
from billing.key_changes import DEFAULT_OVERLAP, MAX_OVERLAP
from billing.key_delegation import MAX_KEYS, NotGranted, TooManyKeys
from billing.models import ApiKey
from workers.catalogue import catalogue
from zekron_api.console.forms import CheckedList, ConsoleForm, OverlapForm, UtcTimeField

_SCOPES: Final = {
    Scope.GENERATE: "Make pictures, and cancel them",
    Scope.READ: "See pictures, the history and the balance",
    Scope.DELETE: "Delete pictures",
    Scope.USAGE: "See usage and movements of money",
    Scope.KEYS: "Manage API keys",
    Scope.WEBHOOKS: "Manage webhooks",
    Scope.BILLING: "Redeem codes and pay by card",
}
_PERIODS: Final = (
    (ApiKey.SpendPeriod.DAY, "each day"),
    (ApiKey.SpendPeriod.MONTH, "each month"),
    (ApiKey.SpendPeriod.TOTAL, "in total"),
)
_GRANTS: Final = frozenset(field.name for field in fields(Grants))


class KeyForm(ConsoleForm):
    """The form of a key: its name and what it grants."""

    name = forms.CharField(
        required=False,
        max_length=grants.MAX_NAME_CHARACTERS,
        help_text="For people, such as the program's name.",
    )
    scopes = CheckedList(
        label="The key may", choices=[(scope, f"{label} ({scope})") for scope, label in _SCOPES.items()]
    )
    expires_at = UtcTimeField(label="Expires", help_text="Empty: never.")
    allowed_models = CheckedList(
        label="Models", choices=(), required=False, help_text="None checked: all models, including new ones."
    )
    allowed_ips = LinesField(
        label="Allowed IP addresses",
        required=False,
        help_text="Addresses and networks such as 192.0.2.0/24, one per line. Empty: all.",
    )
    requests_per_minute = forms.IntegerField(
        label="Requests in any 60 seconds",
        required=False,
        min_value=bounds.MIN_LIMIT,
        max_value=bounds.MAX_REQUESTS_PER_MINUTE,
        help_text="Empty: the limit of the account.",
    )
    open_limit = forms.IntegerField(
        label="Open generations",
        required=False,
        min_value=bounds.MIN_LIMIT,
        max_value=bounds.MAX_OPEN,
        help_text="Empty: the limit of the account.",
    )
    spend_limit_micros = DollarsField(
        label="Spending limit (USD)", required=False, help_text="Empty: no limit but the balance."
    )
    spend_period = forms.ChoiceField(
        label="Limit period",
        choices=_PERIODS,
        initial=ApiKey.SpendPeriod.MONTH,
        help_text="Days and months in UTC.",
    )

    def __init__(self, data: Any = None, *, key: ApiKey | None = None) -> None:
        granted = Grants() if key is None else keys.grants_of(key)
        super().__init__(data, initial={name: _as_shown(getattr(granted, name)) for name in _GRANTS})
        kept = granted.allowed_models or ()
        names = dict.fromkeys([*catalogue(), *kept])
        self.fields["allowed_models"].choices = [(name, name) for name in names]  # type: ignore[attr-defined] # a CheckedList
        if key is not None:
            self.initial["name"] = key.name
            self.keep_shown_values()

    def clean_expires_at(self) -> datetime | None:
        """Refuse an expiry in the past, unless it is the present one."""
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now() and "expires_at" in self.changed_data:
            raise ValidationError("The expiry must be in the future.")
        return expires_at

    def clean_allowed_ips(self) -> list[str] | None:
        """Refuse what is no address or network."""
        texts: list[str] | None = self.cleaned_data["allowed_ips"]
        try:
            grants.check(Grants(allowed_ips=None if texts is None else tuple(texts)))
        except InvalidGrant as error:
            raise ValidationError(_in_words(error)) from None
        return texts

    def read_grants(self, *, of: set[str] | frozenset[str] = _GRANTS) -> dict[str, Any]:
        """Return these fields of `Grants`."""
        return {name: _as_grant(self.cleaned_data[name]) for name in _GRANTS & of}

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn what the domain refuses into errors of the form."""
        try:
            yield
        except InvalidGrant as error:
            self.add_error(error.field, _in_words(error))
        except TooManyKeys:
            self.add_error(None, f"An account has at most {MAX_KEYS} keys. Revoke one first.")
        except keys.AlreadyRevoked:
            self.add_error(None, "This key was revoked meanwhile.")
        except NotGranted:
            # The person left the account, or is no owner any more, since the page was opened.
            raise PermissionDenied from None


class RotateForm(OverlapForm):
    """The form of a rotation of a key."""

    def __init__(self, data: Any = None) -> None:
        label = "Hours until the old key stops working"
        super().__init__(data, label=label, usual=DEFAULT_OVERLAP, most=MAX_OVERLAP)


def _in_words(error: InvalidGrant) -> str:
    """Return the message with the names of fields as the form shows them."""
    message = (
        str(error).replace("allowed_ips", "allowed IP addresses").replace("spend_limit", "spending limit")
    )
    return capfirst(message)


def _as_shown(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _as_grant(value: object) -> object:
    """Return the value for `Grants`, in which None stands for no bound."""
    if isinstance(value, list):
        return tuple(value) or None
    return value
