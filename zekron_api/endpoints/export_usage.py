"""The endpoint GET /v1/usage/export: every charged image as a line of CSV or JSON, in a stream."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from rest_framework.request import Request

from billing.grants import Scope
from workers.usage import export
from zekron_api.endpoints import time_range
from zekron_api.endpoints.list_generations import MAX_OFFSET, CursorField, FilterField
from zekron_api.endpoints.time_range import TimeRangeSerializer
from zekron_api.endpoints.views import ApiView
from zekron_api.waiting.paged_response import PagedResponse

MAX_RANGE: Final = timedelta(days=366)
_CSV, _JSON_LINES = "csv", "jsonl"
MEDIA_TYPES: Final = {_CSV: "text/csv; charset=utf-8", _JSON_LINES: "application/jsonl"}


class ExportQuerySerializer(TimeRangeSerializer):
    """The query of GET /v1/usage/export."""

    from_help = "The beginning of the charges. Without it, it is 30 days before `to`."
    to_help = (
        f"The end of the charges, which is not included. Without it, it is the present. It is at most {MAX_RANGE.days} "
        "days after `from`."
    )
    format = FilterField(allowed=MEDIA_TYPES, help_text="The format: `csv` without it.")
    after = CursorField(
        help_text="The `entry` of the last line that was received. The same export goes on after it, and CSV then has "
        "no line with names. For another range leave it out."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Fill in the range, and refuse one that is too long."""
        # The same request some minutes later goes on where it stopped, and does not begin later.
        usual = MAX_RANGE if attrs["after"] else time_range.DEFAULT_RANGE
        attrs["from"], attrs["to"] = time_range.read_range(
            attrs, end=time_range.now(), longest=MAX_RANGE, usual=usual
        )
        return attrs


class ExportView(ApiView):
    """The endpoint GET /v1/usage/export."""

    scopes = {"GET": Scope.USAGE}

    def get(self, request: Request) -> PagedResponse:
        """Return a stream of the account's charges, in the order of its ledger."""
        time_range.refuse_repeated(request, ("from", "to", "format", "after"))
        query = ExportQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        values = query.validated_data
        kind = values["format"] or _CSV
        pages = _write_pages(
            account_id=self.account.pk,
            start=values["from"],
            end=values["to"],
            after=min(values["after"], MAX_OFFSET),
            kind=kind,
        )
        response = PagedResponse(account_id=self.account.pk, pages=pages, content_type=MEDIA_TYPES[kind])
        response["Content-Disposition"] = f'attachment; filename="usage.{kind}"'
        return response


def _write_pages(
    *, account_id: int, start: datetime, end: datetime, after: int, kind: str
) -> Iterator[bytes]:
    if kind == _CSV and not after:
        yield export.write_csv([], with_header=True)
    write = export.write_csv if kind == _CSV else export.write_json_lines
    for charges in export.read_pages(account_id=account_id, start=start, end=end, after=after):
        yield write(charges)
