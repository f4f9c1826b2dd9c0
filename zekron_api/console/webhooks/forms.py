"""The forms of webhooks in the console."""

from datetime import timedelta
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError

from workers.webhook_models import MAX_DESCRIPTION_CHARACTERS, MAX_URL_CHARACTERS, WebhookEndpoint
from workers.webhooks import addresses, endpoints, events
from zekron_api.console.forms import CheckedList, ConsoleForm, OverlapForm, UtcTimeField

_EVENTS: Final = {
    events.COMPLETED: "A picture is ready",
    events.FAILED: "A generation failed",
    events.CANCELLED: "A generation was cancelled",
    events.STARTED: "A generation began",
    events.IMAGE_DELETED: "A picture was deleted",
    events.BALANCE_LOW: "The balance is low",
    events.KEY_SPEND_LIMIT_REACHED: "A key came near its limit",
    events.WEBHOOK_DISABLED: "A webhook was disabled",
}


class WebhookForm(ConsoleForm):
    """The form of a webhook. Its fields have the names of the columns."""

    url = forms.CharField(
        label="URL",
        max_length=MAX_URL_CHARACTERS,
        widget=forms.URLInput(attrs={"placeholder": "https://example.com/zekron", "autocomplete": "off"}),
        help_text="An https URL of your server, on port 443 or 8443 of a public address.",
    )
    description = forms.CharField(
        required=False, max_length=MAX_DESCRIPTION_CHARACTERS, help_text="A note for yourself."
    )
    events = CheckedList(
        label="Send when", choices=[(name, f"{_EVENTS[name]} ({name})") for name in events.SUBSCRIBABLE]
    )
    include_prompt = forms.BooleanField(
        label="Send the prompt too", required=False, help_text="Receivers often log what they get."
    )
    is_enabled = forms.BooleanField(
        label="Enabled", required=False, help_text="Events that happen while it is off are not sent."
    )

    def __init__(self, data: Any = None, *, endpoint: WebhookEndpoint | None = None) -> None:
        shown: dict[str, Any] = {"events": list(events.DEFAULT), "is_enabled": True}
        if endpoint is not None:
            shown = {name: getattr(endpoint, name) for name in self.base_fields}
        super().__init__(data, initial=shown)
        if endpoint is not None:
            self.keep_shown_values()

    def clean_url(self) -> str:
        """Refuse an address that webhooks may not call."""
        url: str = self.cleaned_data["url"]
        try:
            if "url" in self.changed_data:
                addresses.refuse_now(url)
        except addresses.RefusedUrl as refusal:
            raise ValidationError(f"The URL {refusal}") from None
        return url

    def read_changes(self) -> dict[str, Any]:
        """Return the columns that were changed."""
        return {name: self.cleaned_data[name] for name in self.changed_data}


class RotateForm(OverlapForm):
    """The form of a rotation of a secret."""

    def __init__(self, data: Any = None) -> None:
        super().__init__(
            data,
            label="Hours for which the old secret also signs",
            usual=timedelta(seconds=endpoints.DEFAULT_OVERLAP_SECONDS),
            most=timedelta(seconds=endpoints.MAX_OVERLAP_SECONDS),
        )


class RecoverForm(ConsoleForm):
    """The form of a recovery: the time whose failed deliveries are sent again."""

    since = UtcTimeField(label="From", required=True)
    until = UtcTimeField(label="Until", help_text="Empty: until now.")

    def clean(self) -> dict[str, Any]:
        """Refuse a time that ends before it begins."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and since > until:
            self.add_error("until", "The end must not be before the start.")
        return cleaned
