"""The forms of keys in the admin."""

from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from billing import bounds, grants
from billing.admin.forms import DollarsField
from billing.grants import Grants
from billing.key_changes import DEFAULT_OVERLAP, MAX_OVERLAP
from billing.models import ApiKey

_SECONDS_PER_HOUR: Final = 3600


class LinesField(forms.CharField):
    """Some texts, one a line. Its clean value is a list, or None if it is empty."""

    widget = forms.Textarea(attrs={"rows": 3, "cols": 44})

    def prepare_value(self, value: Any) -> Any:
        """Return the texts as lines, and what somebody wrote as it is."""
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Return the texts."""
        return str(super().to_python(value) or "").split() or None

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare the texts."""
        return bool(self.to_python(data) != (initial or None))


class KeyForm(forms.ModelForm):  # type: ignore[type-arg] # Django's class takes its parameter in stubs alone
    """The form of a key: its account, its name and what it grants. `grants` is there once the form is valid."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in grants.Scope],
        widget=forms.CheckboxSelectMultiple,
        initial=grants.DEFAULT_SCOPES,
    )
    allowed_ips = LinesField(
        label="Allowed IPs", required=False, help_text="Addresses and networks, one a line. Empty: all."
    )
    allowed_models = LinesField(required=False, help_text="Names of models, one a line. Empty: all.")
    requests_per_minute = forms.IntegerField(
        label="Requests in any 60 seconds",
        required=False,
        min_value=bounds.MIN_LIMIT,
        max_value=bounds.MAX_REQUESTS_PER_MINUTE,
    )
    open_limit = forms.IntegerField(
        label="Open generations", required=False, min_value=bounds.MIN_LIMIT, max_value=bounds.MAX_OPEN
    )
    spend_limit_micros = DollarsField(label="Spend limit (USD)", required=False)

    class Meta:
        """The model and its fields."""

        model = ApiKey
        fields = [
            "account",
            "name",
            "scopes",
            "expires_at",
            "allowed_ips",
            "allowed_models",
            "requests_per_minute",
            "open_limit",
            "spend_limit_micros",
            "spend_period",
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The page keeps what it showed, because the key's account may change the key while somebody looks at it.
        for field in self.fields.values():
            field.show_hidden_initial = True

    def clean_expires_at(self) -> Any:
        """Refuse an expiry in the past."""
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now() and "expires_at" in self.changed_data:
            raise ValidationError("Expiry must be in the future.")
        return expires_at

    def clean(self) -> dict[str, Any]:
        """Refuse what no key can grant."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        try:
            self.grants = grants.check(
                Grants(
                    scopes=tuple(cleaned["scopes"]),
                    expires_at=cleaned["expires_at"],
                    allowed_ips=_tuple(cleaned["allowed_ips"]),
                    allowed_models=_tuple(cleaned["allowed_models"]),
                    requests_per_minute=cleaned["requests_per_minute"],
                    open_limit=cleaned["open_limit"],
                    spend_limit_micros=cleaned["spend_limit_micros"],
                    spend_period=cleaned["spend_period"],
                )
            )
        except grants.InvalidGrant as error:
            self.add_error(error.field, str(error))
        return cleaned


class RotateKeyForm(forms.Form):
    """The form of a rotation: the hours for which the former key stays valid."""

    overlap_hours = forms.IntegerField(
        label="Hours for which the former key stays valid",
        min_value=0,
        max_value=int(MAX_OVERLAP.total_seconds()) // _SECONDS_PER_HOUR,
        initial=int(DEFAULT_OVERLAP.total_seconds()) // _SECONDS_PER_HOUR,
    )


def _tuple(texts: list[str] | None) -> tuple[str, ...] | None:
    return None if texts is None else tuple(texts)
