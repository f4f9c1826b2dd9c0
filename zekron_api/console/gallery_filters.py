"""The filters of the gallery, as a form and as a query of the history."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from django import forms

from billing.models import ApiKey
from workers.catalogue import catalogue
from workers.lifecycle.history import Filters
from workers.models import Kind, Status
from zekron_api.console.access import Access

_ANY: Final = [("", "All")]
_ME: Final = "me"
_DATE: Final = {"type": "date"}
_STATUSES: Final = {
    Status.COMPLETED: "Made",
    Status.QUEUED: "Queued",
    Status.RUNNING: "Being made",
    Status.FAILED: "Failed",
    Status.CANCELLED: "Cancelled",
}


class GalleryFilters(forms.Form):
    """The conditions of the gallery. Days are those of UTC."""

    use_required_attribute = False
    status = forms.ChoiceField(required=False, choices=[*_ANY, *_STATUSES.items()])
    type = forms.ChoiceField(
        required=False, choices=[*_ANY, (Kind.CREATE, "From a prompt"), (Kind.EDIT, "Edits of images")]
    )
    model = forms.ChoiceField(required=False)
    by = forms.ChoiceField(required=False, label="Requested by")
    since = forms.DateField(required=False, label="From", widget=forms.DateInput(_DATE))
    until = forms.DateField(required=False, label="To", widget=forms.DateInput(_DATE))
    before = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput)

    def __init__(self, data: Any, *, access: Access) -> None:
        super().__init__(data, label_suffix="")
        self._access = access
        self.fields["model"].choices = [*_ANY, *((name, name) for name in catalogue())]  # type: ignore[attr-defined]
        keys = ApiKey.objects.filter(account=access.account).order_by("-pk")
        by = [(str(key.pk), name_of_key(key)) for key in keys]
        self.fields["by"].choices = [("", "Everybody"), (_ME, "Me"), *by]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Refuse a time that ends before it begins."""
        values = super().clean() or {}
        since, until = values.get("since"), values.get("until")
        if since and until and since > until:
            self.add_error("until", "This day is before the first one.")
        return values

    @property
    def filters(self) -> Filters:
        """The conditions of the valid form. An invalid one has none."""
        if not self.is_valid():
            return Filters()
        values = self.cleaned_data
        by = values["by"]
        return Filters(
            status=Status(values["status"]) if values["status"] else None,
            kind=Kind(values["type"]) if values["type"] else None,
            model=values["model"] or None,
            since=_midnight(values["since"]),
            until=_midnight_after(values["until"]),
            api_key_id=int(by) if by and by != _ME else None,
            person_id=self._access.user.pk if by == _ME else None,
        )

    @property
    def before_id(self) -> int | None:
        """The id of the generation before which the page begins, or None for the newest."""
        return self.cleaned_data["before"] if self.is_valid() else None


def name_of_key(key: ApiKey) -> str:
    """Return how people recognise the key."""
    return key.name or str(key)


def _midnight(day: Any) -> datetime | None:
    return datetime.combine(day, time(), tzinfo=UTC) if day else None


def _midnight_after(day: Any) -> datetime | None:
    # No day follows the last one that there is, so it bounds nothing.
    return _midnight(day + timedelta(days=1)) if day and day < date.max else None
