"""The query of the page Usage: a range of days in UTC, a group and a measure. The length of a bar follows the range."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.http import QueryDict

from workers.usage.queries import Bucket, Group
from zekron_api.endpoints.usage import MAX_RANGE

# The ranges that a link offers, by their number of days. Each ends with the present day.
RANGES: Final = {1: "Today", 7: "7 days", 30: "30 days", 90: "90 days"}
USUAL_DAYS: Final = 30
GROUPS: Final[tuple[tuple[Group | str, str], ...]] = (
    ("", "Nothing"),
    ("model", "Model"),
    ("key", "API key"),
    ("type", "Type"),
    ("size", "Size"),
)
MEASURES: Final = (("images", "Pictures"), ("cost", "Cost"))
# Ranges of more days have longer bars, so that a chart has at most a hundred or so.
_MAX_HOURLY_DAYS: Final = 3
_MAX_DAILY_DAYS: Final = 100
_EARLIEST: Final = date(2000, 1, 1)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class UsageQuery:
    """A range of full hours, and how it is shown. `first` and `last` are its days."""

    first: date
    last: date
    end: datetime
    ends_today: bool
    group: Group | None = None
    measure: str = "images"

    @property
    def start(self) -> datetime:
        """The beginning of the range."""
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)

    @property
    def day_count(self) -> int:
        """The number of days of the range."""
        return (self.last - self.first).days + 1

    @property
    def bucket(self) -> Bucket:
        """The length of a bar."""
        if self.day_count <= _MAX_HOURLY_DAYS:
            return "hour"
        return "day" if self.day_count <= _MAX_DAILY_DAYS else "month"


def _day_field(label: str) -> forms.DateField:
    return forms.DateField(
        label=label,
        required=False,
        input_formats=["%Y-%m-%d"],
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        validators=[MinValueValidator(_EARLIEST)],
        error_messages={"invalid": "Enter a day such as 2026-11-27."},
    )


class UsageForm(forms.Form):
    """The query as a form. `days` is the range of a link, and days that a person enters come before it."""

    first = _day_field("From")
    last = _day_field("To, included")
    group = forms.ChoiceField(label="Group by", choices=GROUPS, required=False)
    show = forms.ChoiceField(label="Show", choices=MEASURES, required=False)

    def __init__(self, sent: QueryDict, *, end: datetime) -> None:
        values: dict[str, Any] = sent.dict()
        today = (end - timedelta(hours=1)).date()
        if not values.get("first") and not values.get("last"):
            first, last = _read_days(values.get("days", ""), today)
            values |= {"first": first.isoformat(), "last": last.isoformat()}
        super().__init__(values)
        self._end, self._today = end, today

    def clean(self) -> dict[str, Any]:
        """Complete a range of which one day was sent. Raises ValidationError for one that is none or too long."""
        values: dict[str, Any] = self.cleaned_data
        if self.errors:
            return values
        # No usage is of a later day.
        last = min(values["last"] or self._today, self._today)
        first = values["first"] or max(last - (USUAL_DAYS - 1) * _DAY, _EARLIEST)
        if first > last:
            raise ValidationError("The first day must not be after the last one, or after today in UTC.")
        if last - first >= MAX_RANGE:
            raise ValidationError(f"The range must have at most {MAX_RANGE.days} days.")
        return {**values, "first": first, "last": last}

    def query(self) -> UsageQuery:
        """Return the query of a valid form."""
        values = self.cleaned_data
        last: date = values["last"]
        midnight = datetime(last.year, last.month, last.day, tzinfo=UTC) + _DAY
        return UsageQuery(
            first=values["first"],
            last=last,
            # A day that is not over has no hours after the present one.
            end=self._end if last == self._today else midnight,
            ends_today=last == self._today,
            group=values["group"] or None,
            measure=values["show"] or "images",
        )


def _read_days(text: str, today: date) -> tuple[date, date]:
    days = int(text) if text in {str(days) for days in RANGES} else USUAL_DAYS
    return today - (days - 1) * _DAY, today
