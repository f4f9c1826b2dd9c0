"""The base of the console's forms, and the fields that several of them have."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from django import forms
from django.core.exceptions import ValidationError

_HOUR: Final = timedelta(hours=1)


class ConsoleForm(forms.Form):
    """A form whose fields `console/form_fields.html` renders."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})

    def keep_shown_values(self) -> None:
        """Let the page keep what it showed, so that a change touches nothing that others changed meanwhile."""
        for field in self.fields.values():
            field.show_hidden_initial = True


class UtcTimeField(forms.DateTimeField):
    """A time to the minute, in UTC."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")

    def __init__(self, *, label: str, help_text: str = "", required: bool = False) -> None:
        super().__init__(label=f"{label} (UTC)", help_text=help_text, required=required)

    def to_python(self, value: Any) -> datetime | None:
        """Return the time in UTC. Raises ValidationError, also for an offset that leads out of all years."""
        time: datetime | None = super().to_python(value)
        try:
            return time and time.astimezone(UTC)
        except OverflowError:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None

    def prepare_value(self, value: Any) -> Any:
        """Return the minute of a time, and what somebody wrote as it is."""
        to_minute = value.replace(second=0, microsecond=0) if isinstance(value, datetime) else value
        return super().prepare_value(to_minute)


class CheckedList(forms.MultipleChoiceField):
    """Some of the choices, as check boxes. Its clean value has the order of the choices."""

    widget = forms.CheckboxSelectMultiple

    def __init__(self, *, choices: Iterable[tuple[str, str]], **options: Any) -> None:
        super().__init__(choices=list(choices), **options)

    def clean(self, value: Any) -> list[str]:
        """Return the checked values. Raises ValidationError."""
        checked = super().clean(value)
        return [choice for choice, _ in cast(list[tuple[str, str]], self.choices) if choice in checked]


class OverlapForm(ConsoleForm):
    """The form of a rotation: the hours for which a former text stays valid."""

    def __init__(self, data: Any = None, *, label: str, usual: timedelta, most: timedelta) -> None:
        super().__init__(data, initial={"overlap_hours": usual // _HOUR})
        self.fields["overlap_hours"] = forms.IntegerField(
            label=label,
            min_value=0,
            max_value=most // _HOUR,
            help_text=f"0 ends it at once. At most {most.days} days.",
        )

    @property
    def overlap(self) -> timedelta:
        """Return the time for which the former text stays valid."""
        return int(self.cleaned_data["overlap_hours"]) * _HOUR
