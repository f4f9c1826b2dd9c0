"""The endpoint GET /v1/generations: pages of the account's history, by offset or by filters and a cursor."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from drf_spectacular.drainage import set_override
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from billing.grants import Scope
from workers.catalogue import catalogue
from workers.lifecycle import history, queries
from workers.lifecycle.history import Filters, Position
from workers.models import Generation, Kind, Status
from zekron_api.endpoints import response_bodies
from zekron_api.endpoints.fields import CheckedField
from zekron_api.endpoints.parameter_fields import check_metadata
from zekron_api.endpoints.serializers import WholeNumberField
from zekron_api.endpoints.views import ApiView
from zekron_api.http.authentication import FreshAccountAuthentication
from zekron_api.http.errors import InvalidField

DEFAULT_PAGE_SIZE: Final = 20
MAX_PAGE_SIZE: Final = 100
# PostgreSQL's OFFSET and ids are 64-bit integers.
MAX_OFFSET: Final = 2**63 - 1
# An address decodes a plus sign as a space. No other space stands before an offset.
_DECODED_PLUS: Final = re.compile(r" (?=\d\d:?\d\d$)")
# `metadata.order=7` finds generations whose metadata has this value under `order`.
_METADATA: Final = "metadata."
_FILTERS: Final = ("status", "type", "model", "since", "until")


class FilterField(CheckedField):
    """A value that is one of those allowed, or None if none was sent."""

    def __init__(self, *, allowed: Iterable[str] = (), help_text: str) -> None:
        super().__init__(required=False, help_text=help_text)
        self._allowed = tuple(allowed)
        set_override(self, "field", {"type": "string", "enum": list(self._allowed)})

    @property
    def allowed(self) -> tuple[str, ...]:
        """The allowed values, for the check and for its message."""
        return self._allowed

    def checked(self, value: object) -> str | None:
        """Return the value. Raises InvalidField."""
        if value is not None and value not in self.allowed:
            message = f"Unknown {self.field_name}. Allowed: {', '.join(self.allowed)}."
            raise InvalidField("invalid_parameter", message)
        return None if value is None else str(value)


class ModelFilterField(FilterField):
    """The name of a public model, or None. The models file is read when a request names a model."""

    def __init__(self, *, help_text: str) -> None:
        super().__init__(help_text=help_text)
        set_override(self, "field", {"type": "string"})

    @property
    def allowed(self) -> tuple[str, ...]:
        """The names in the models file."""
        return tuple(catalogue())


class TimeField(CheckedField):
    """A time in ISO 8601 with an offset from UTC, or None if none was sent."""

    def __init__(self, *, help_text: str) -> None:
        super().__init__(required=False, help_text=help_text)
        set_override(self, "field", {"type": "string", "format": "date-time"})

    def checked(self, value: object) -> datetime | None:
        """Return the time in UTC. Raises InvalidField."""
        if value is None:
            return None
        try:
            time = datetime.fromisoformat(_DECODED_PLUS.sub("+", str(value)))
            # Python ignores a NUL at the end.
            if time.tzinfo is None or "\0" in str(value):
                raise ValueError("a time without an offset, or with more behind it")
            return time.astimezone(UTC)
        # A time of the year 1 or 9999 may be outside of the calendar in UTC.
        except (ValueError, OverflowError):
            message = (
                f"{self.field_name} must be an ISO 8601 time with an offset, such as 2026-11-27T12:00:00Z."
            )
            raise InvalidField("invalid_parameter", message) from None


class CursorField(WholeNumberField):
    """The id of a generation, or 0 if none was sent."""

    def __init__(self, *, help_text: str) -> None:
        super().__init__(nothing=0, least=1, most=MAX_OFFSET, help_text=help_text)
        set_override(self, "field", {"type": "integer", "minimum": 1})


def limit_field(what: str) -> WholeNumberField:
    """Return the field of a query for the number of rows on a page. `what` names them for people."""
    return WholeNumberField(
        nothing=DEFAULT_PAGE_SIZE,
        least=1,
        most=MAX_PAGE_SIZE,
        help_text=f"The number of {what} to list. A number above {MAX_PAGE_SIZE} counts as {MAX_PAGE_SIZE}.",
    )


class PageSerializer(Serializer[Any]):
    """The query of GET /v1/generations."""

    limit = limit_field("generations")
    offset = WholeNumberField(
        nothing=0,
        least=0,
        most=MAX_OFFSET,
        help_text="The number of newest generations to skip. It cannot be combined with a filter or `before`.",
    )
    status = FilterField(allowed=Status.values, help_text="Lists only generations with this status.")
    type = FilterField(allowed=Kind.values, help_text="Lists only generations of this type.")
    model = ModelFilterField(help_text="Lists only generations of this model, one of `GET /v1/models`.")
    since = TimeField(help_text="Lists only generations that were accepted at this time or later.")
    until = TimeField(help_text="Lists only generations that were accepted before this time.")
    before = CursorField(
        help_text="The id of a generation of the account. The page has older ones. Send the last page's `next_before`."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse combinations that have no meaning."""
        sent = [name for name in _FILTERS if attrs[name] is not None]
        if attrs["before"] and "offset" in self.initial_data:
            raise InvalidField("invalid_parameter", "offset and before cannot be combined. Send only before.")
        if sent and attrs["offset"]:
            message = f"offset and {sent[0]} cannot be combined. Page with before={{pagination.next_before}}."
            raise InvalidField("invalid_parameter", message)
        if attrs["since"] and attrs["until"] and attrs["since"] > attrs["until"]:
            raise InvalidField("invalid_parameter", "since must not be after until.")
        return attrs


class HistoryView(ApiView):
    """The endpoint GET /v1/generations."""

    scopes = {"GET": Scope.READ}
    authentication_classes = [FreshAccountAuthentication]

    def get(self, request: Request) -> Response:
        """Return one page of the account's generations, newest first."""
        _refuse_repeated(request)
        query = PageSerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        values = query.validated_data
        metadata = _read_metadata(request)
        if metadata and values["offset"]:
            message = "offset and metadata cannot be combined. Page with before={pagination.next_before}."
            raise InvalidField("invalid_parameter", message)
        filters = Filters(
            status=values["status"] and Status(values["status"]),
            kind=values["type"] and Kind(values["type"]),
            model=values["model"],
            since=values["since"],
            until=values["until"],
            metadata=metadata or None,
        )
        # Every generation has exactly one hold, and the account counts its holds.
        total, limit, offset = self.account.hold_count, values["limit"], values["offset"]
        if not filters and not values["before"]:
            rows = queries.get_page(account_id=self.account.pk, total=total, limit=limit, offset=offset)
            return Response(response_bodies.history_reply(rows, total, limit, offset))
        page = history.find_page(
            account_id=self.account.pk,
            total=total,
            filters=filters,
            before=self._find_position(values["before"]),
            limit=limit,
        )
        return Response(response_bodies.cursor_reply(page, None if filters else total, limit))

    def _find_position(self, before: int) -> Position | None:
        if not before:
            return None
        try:
            return history.find_position(account_id=self.account.pk, generation_id=before)
        except Generation.DoesNotExist:
            message = "before must be the id of one of your generations."
            raise InvalidField("invalid_parameter", message) from None


def _read_metadata(request: Request) -> dict[str, str]:
    """Return the names and values of the parameters `metadata.NAME`. Raises InvalidField."""
    sent = {
        name.removeprefix(_METADATA): str(value)
        for name, value in request.query_params.items()
        if name.startswith(_METADATA)
    }
    check_metadata(sent)
    return sent


def _refuse_repeated(request: Request) -> None:
    """Raise InvalidField for a filter that was sent twice, because the reply would ignore one of them."""
    metadata = [name for name in request.query_params if name.startswith(_METADATA)]
    for name in (*_FILTERS, "before", *metadata):
        if len(request.query_params.getlist(name)) > 1:
            # A message repeats nothing that a client wrote.
            shown = "A name of metadata" if name in metadata else name
            raise InvalidField("invalid_parameter", f"{shown} was sent more than once. Send it once.")
