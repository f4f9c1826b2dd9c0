"""The range of times in the query of an endpoint: `from` until before `to`, in UTC."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone
from rest_framework.fields import Field
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from zekron_api.endpoints.list_generations import TimeField
from zekron_api.http.errors import InvalidField

DEFAULT_RANGE: Final = timedelta(days=30)
_FROM, _TO = "from", "to"


class TimeRangeSerializer(Serializer[Any]):
    """A query with `from` and `to`. A subclass says what they mean."""

    from_help = ""
    to_help = ""

    def get_fields(self) -> dict[str, Field[Any, Any, Any, Any]]:
        """Return the fields, first those whose names no attribute can have."""
        times = {_FROM: TimeField(help_text=self.from_help), _TO: TimeField(help_text=self.to_help)}
        return {**times, **super().get_fields()}


def refuse_backwards(start: datetime | None, to: datetime | None) -> None:
    """Raise InvalidField for a range without any time."""
    if start and to and start >= to:
        raise InvalidField("invalid_parameter", "from must be before to.")


def read_range(
    values: dict[str, Any], *, end: datetime, longest: timedelta, usual: timedelta | None = None
) -> tuple[datetime, datetime]:
    """Return `from` and `to`, by default the `usual` time before `end`, or else 30 days. Raises InvalidField."""
    to: datetime = values[_TO] or end
    try:
        start: datetime = values[_FROM] or to - (usual or DEFAULT_RANGE)
    except OverflowError:
        start = to
    refuse_backwards(start, to)
    if to - start > longest:
        message = f"from and to must be at most {longest.days} days apart."
        raise InvalidField("invalid_parameter", message)
    return start, to


def full_hour_after(moment: datetime) -> datetime:
    """Return the end of the hour that this time is in."""
    return moment.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def now() -> datetime:
    """Return the time of this machine, for ranges without an end."""
    return timezone.now()


def refuse_repeated(request: Request, names: Iterable[str]) -> None:
    """Raise InvalidField for a parameter that was sent twice, because the reply would ignore one of them."""
    for name in names:
        if len(request.query_params.getlist(name)) > 1:
            raise InvalidField("invalid_parameter", f"{name} was sent more than once. Send it once.")
