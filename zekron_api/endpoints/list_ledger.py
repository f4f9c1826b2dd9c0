"""The endpoint GET /v1/ledger: every movement of the account's money, with the balance after it."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BooleanField, IntegerField, Serializer

from billing.grants import Scope
from billing.models import LedgerEntry
from workers.usage import entries
from workers.usage.entries import Page
from zekron_api.endpoints import time_range
from zekron_api.endpoints.list_generations import (
    MAX_OFFSET,
    MAX_PAGE_SIZE,
    CursorField,
    FilterField,
    limit_field,
)
from zekron_api.endpoints.reply_fields import ReplyField, choice, constant, time_field, usd_field
from zekron_api.endpoints.row_serializer import RowSerializer
from zekron_api.endpoints.time_range import TimeRangeSerializer
from zekron_api.endpoints.views import ApiView


class LedgerQuerySerializer(TimeRangeSerializer):
    """The query of GET /v1/ledger."""

    from_help = "Lists only entries of this time or later."
    to_help = "Lists only entries of before this time."
    limit = limit_field("entries")
    kind = FilterField(allowed=LedgerEntry.Kind.values, help_text="Lists only entries of this kind.")
    before = CursorField(
        help_text="The place of an entry. The page has older ones. Send the last page's `next_before`."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a range that has no time."""
        time_range.refuse_backwards(attrs["from"], attrs["to"])
        return attrs


class EntrySerializer(RowSerializer):
    """A movement of the account's money. Entries are never changed."""

    entry = IntegerField(
        source="row.sequence",
        min_value=1,
        help_text="Its place in the account's ledger, from 1 without a gap.",
    )
    kind = choice(
        LedgerEntry.Kind.values,
        source="row.kind",
        help_text="`credit` adds the amount to the balance, `refund` and `settle` take it off. `hold` reserves it for "
        "a generation until `settle` or `release`.",
    )
    amount = usd_field("The amount in USD, which is positive for every kind.", source="row.amount_micros")
    balance = usd_field("The balance after it.", source="row.balance_after_micros")
    reserved = usd_field(
        "The part of the balance that open generations hold after it.", source="row.reserved_after_micros"
    )
    generation_id = ReplyField(
        {"type": ["integer", "null"], "minimum": 1},
        lambda generation_id: generation_id,
        "The generation of a hold and its end, or null for a credit and a refund.",
    )
    created_at = time_field("When the movement was asked for.", source="row.created_at")


class LedgerPaginationSerializer(Serializer[Any]):
    """The position of the page in the ledger."""

    limit = IntegerField(min_value=1, max_value=MAX_PAGE_SIZE, help_text="The limit that was applied.")
    has_more = BooleanField(
        help_text="Whether older entries follow this page. With `kind`, older ones may follow that do not match."
    )
    next_before = ReplyField(
        {"type": ["integer", "null"], "minimum": 1},
        lambda place: place,
        "The `before` of the next page, or null on the last one.",
    )


class LedgerPageSerializer(Serializer[Any]):
    """A page of the ledger, newest first."""

    entries = EntrySerializer(many=True)
    pagination = LedgerPaginationSerializer()


class LedgerReplySerializer(Serializer[Any]):
    """The reply with a page of the ledger."""

    success = constant(True)
    data = LedgerPageSerializer(source="*")  # type: ignore[assignment]


_REPLY = LedgerReplySerializer()


class LedgerView(ApiView):
    """The endpoint GET /v1/ledger."""

    scopes = {"GET": Scope.USAGE}

    def get(self, request: Request) -> Response:
        """Return one page of the account's ledger, newest first."""
        time_range.refuse_repeated(request, ("from", "to", "kind", "before", "limit"))
        query = LedgerQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        values = query.validated_data
        page = entries.find_page(
            account_id=self.account.pk,
            kind=values["kind"] and LedgerEntry.Kind(values["kind"]),
            start=values["from"],
            end=values["to"],
            before=min(values["before"], MAX_OFFSET) or None,
            limit=values["limit"],
        )
        return Response(_REPLY.to_representation(_position(page, values["limit"])))


def _position(page: Page, limit: int) -> dict[str, Any]:
    pagination = {"limit": limit, "has_more": page.next_before is not None, "next_before": page.next_before}
    return {"entries": page.entries, "pagination": pagination}
