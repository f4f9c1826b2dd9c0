"""The endpoint GET /v1/usage: images, cost and times by hour, day or month and by group."""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, NoReturn, cast

from drf_spectacular.drainage import set_override
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import CharField, IntegerField, ListField, Serializer

from billing.grants import Scope
from workers.models import Kind
from workers.usage import queries
from workers.usage.histograms import quantile
from workers.usage.queries import Group, TooManyEntries, TooManyRows, Usage, add
from zekron_api.endpoints import time_range
from zekron_api.endpoints.fields import CheckedField
from zekron_api.endpoints.list_generations import FilterField
from zekron_api.endpoints.parameter_fields import check_metadata
from zekron_api.endpoints.reply_fields import ReplyField, choice, constant, time_field, usd_field, utc
from zekron_api.endpoints.row_serializer import RowSerializer
from zekron_api.endpoints.time_range import TimeRangeSerializer
from zekron_api.endpoints.views import ApiView
from zekron_api.http.errors import InvalidField

BUCKETS: Final = ("hour", "day", "month")
GROUPS: Final = ("key", "model", "type", "size")
MAX_HOURLY_RANGE: Final = timedelta(days=31)
MAX_RANGE: Final = timedelta(days=366)
# Metadata is read from the generations themselves.
MAX_METADATA_RANGE: Final = timedelta(days=31)
_METADATA: Final = "metadata."
_ALLOWED: Final = f"{', '.join(GROUPS)}, {_METADATA}NAME"


class GroupBy(NamedTuple):
    """The groups of a query, and the name in `metadata` that is one of them."""

    names: tuple[Group, ...] = ()
    metadata: str | None = None

    @property
    def listed(self) -> list[str]:
        """All names, as the reply repeats them."""
        return [*self.names, *(() if self.metadata is None else (f"{_METADATA}{self.metadata}",))]


class GroupByField(CheckedField):
    """The names to group by, separated by commas."""

    def __init__(self, *, help_text: str) -> None:
        super().__init__(required=False, help_text=help_text)
        name, last = f"(?:{'|'.join(GROUPS)})", r"metadata\.[^\u0000]{1,64}"
        set_override(self, "field", {"type": "string", "pattern": f"^(?:{name},)*(?:{name}|{last})$"})

    def checked(self, value: object) -> GroupBy:
        """Return the groups. Raises InvalidField."""
        if value is None:
            return GroupBy()
        # A name in metadata may have a comma, so it stands last.
        before, mark, after = f",{value}".partition(f",{_METADATA}")
        names = cast(tuple[Group, ...], tuple(before[1:].split(",")) if before else ())
        if not set(names) <= set(GROUPS):
            raise InvalidField("invalid_parameter", f"Unknown name in group_by. Allowed: {_ALLOWED}.")
        if len(set(names)) < len(names):
            raise InvalidField("invalid_parameter", "group_by has a name twice. Send each once.")
        if mark:
            check_metadata({after: ""})
        return GroupBy(names, after if mark else None)


class UsageQuerySerializer(TimeRangeSerializer):
    """The query of GET /v1/usage."""

    from_help = "The beginning: a full hour in UTC. Without it, it is 30 days before `to`."
    to_help = (
        "The end, which is not included: a full hour in UTC. Without it, it is the end of the present hour."
    )
    bucket = FilterField(
        allowed=BUCKETS,
        help_text=f"The length of a row in UTC: `day` without it. `from` and `to` are at most "
        f"{MAX_HOURLY_RANGE.days} days apart with `hour`, and {MAX_RANGE.days} days otherwise.",
    )
    group_by = GroupByField(
        help_text=f"Names to group by, separated by commas: {_ALLOWED}. `metadata.NAME` stands last, and then `from` "
        f"and `to` are at most {MAX_METADATA_RANGE.days} days apart."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Fill in the range, and refuse one that is too long or has a part of an hour."""
        for name in ("from", "to"):
            time: datetime | None = attrs[name]
            if time is not None and (time.minute or time.second or time.microsecond):
                message = f"{name} must be a full hour in UTC, such as 2026-11-27T12:00:00Z."
                raise InvalidField("invalid_parameter", message)
        attrs["bucket"] = attrs["bucket"] or "day"
        longest = MAX_HOURLY_RANGE if attrs["bucket"] == "hour" else MAX_RANGE
        if attrs["group_by"].metadata is not None:
            longest = min(longest, MAX_METADATA_RANGE)
        end = time_range.full_hour_after(time_range.now())
        attrs["from"], attrs["to"] = time_range.read_range(attrs, end=end, longest=longest)
        return attrs


def _seconds(source: str, fraction: float, help_text: str) -> ReplyField:
    def write(counts: list[int]) -> float | None:
        seconds = quantile(counts, fraction)
        return None if seconds is None else round(seconds, 3)

    return ReplyField({"type": ["number", "null"], "minimum": 0}, write, help_text, source=source)


class SumsSerializer(RowSerializer):
    """The numbers of a row. The times are of the images, as estimates that are exact to the bounds of a histogram."""

    images = IntegerField(source="completed", min_value=0, help_text="The number of images that were made.")
    cost = usd_field("Their cost, in USD.", source="cost_micros")
    failed = IntegerField(min_value=0, help_text="The number of failed generations, which are free.")
    cancelled = IntegerField(min_value=0, help_text="The number of cancelled generations, which are free.")
    wait_seconds_p50 = _seconds("wait_counts", 0.5, "Half of the images waited for no longer than this.")
    wait_seconds_p95 = _seconds("wait_counts", 0.95, "95 % of the images waited for no longer than this.")
    make_seconds_p50 = _seconds("make_counts", 0.5, "Half of the images were made in no more than this.")
    make_seconds_p95 = _seconds("make_counts", 0.95, "95 % of the images were made in no more than this.")


class UsageRowSerializer(SumsSerializer):
    """The usage of one group in one hour, day or month. It has the names that were grouped by."""

    start = time_field("The beginning of the hour, day or month in UTC.")
    key_id = ReplyField(
        {"type": ["integer", "null"]},
        lambda key_id: key_id,
        "With `key`: the id of the key, or null for generations before keys were noted.",
        required=False,
    )
    model = CharField(required=False, help_text="With `model`: the model.")
    type = choice(Kind.values, required=False, help_text="With `type`: `create` or `edit`.")
    size = CharField(required=False, help_text="With `size`: width and height in pixels.")
    metadata = ReplyField(
        {"type": ["string", "null"]},
        lambda label: label,
        "With `metadata.NAME`: its value, or null for generations without it, or whose metadata was erased.",
        required=False,
    )


class UsageSerializer(Serializer[Any]):
    """The usage of the account."""

    start = time_field("The `from` of the query.")
    end = time_field("The `to` of the query.")
    bucket = choice(BUCKETS)
    group_by = ListField(child=CharField(), help_text="The names that the rows have.")
    rows = UsageRowSerializer(
        many=True, help_text="By time and group. An hour, day or month without usage has none."
    )
    total = SumsSerializer()

    def get_fields(self) -> Any:
        """Return the fields, of which two have names that no attribute can have."""
        fields = super().get_fields()
        return {"from": fields.pop("start"), "to": fields.pop("end"), **fields}


class UsageReplySerializer(Serializer[Any]):
    """The reply with the usage."""

    success = constant(True)
    data = UsageSerializer(source="*")  # type: ignore[assignment]


_SUMS: Final = SumsSerializer()
# The names of the fields of a row by those in `group_by`, where they differ.
_FIELDS: Final = {"key": "key_id"}


class UsageView(ApiView):
    """The endpoint GET /v1/usage."""

    scopes = {"GET": Scope.USAGE}

    def get(self, request: Request) -> Response:
        """Return the account's usage, up to this moment."""
        time_range.refuse_repeated(request, ("from", "to", "bucket", "group_by"))
        query = UsageQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        values = query.validated_data
        group_by: GroupBy = values["group_by"]
        rows = self._read(values, group_by)
        data = {
            "from": utc(values["from"]),
            "to": utc(values["to"]),
            "bucket": values["bucket"],
            "group_by": group_by.listed,
            "rows": [_row(usage, by_metadata=group_by.metadata is not None) for usage in rows],
            "total": _SUMS.to_representation(add(rows)),
        }
        return Response({"success": True, "data": data})

    def _read(self, values: dict[str, Any], group_by: GroupBy) -> list[Usage]:
        try:
            return queries.read(
                account_id=self.account.pk,
                start=values["from"],
                end=values["to"],
                bucket=values["bucket"],
                group_by=group_by.names,
                metadata=group_by.metadata,
            )
        except (TooManyRows, TooManyEntries) as error:
            refuse(error)


def refuse(error: TooManyRows | TooManyEntries) -> NoReturn:
    """Raise InvalidField for a usage that is too large for one reply."""
    raise InvalidField("invalid_parameter", str(error)) from None


def _row(usage: Usage, *, by_metadata: bool) -> dict[str, Any]:
    groups = {_FIELDS.get(name, name): value for name, value in usage.group.items()}
    label = {"metadata": usage.label} if by_metadata else {}
    return {"start": utc(usage.start), **groups, **label, **_SUMS.to_representation(usage)}
