"""The endpoint GET /v1/generations: pages of the account's history."""

from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from workers.lifecycle import queries
from zekron_api.endpoints import response_bodies
from zekron_api.endpoints.serializers import WholeNumberField
from zekron_api.endpoints.views import ApiView
from zekron_api.http.authentication import FreshAccountAuthentication

DEFAULT_PAGE_SIZE: Final = 20
MAX_PAGE_SIZE: Final = 100
# PostgreSQL's OFFSET is a 64-bit integer.
MAX_OFFSET: Final = 2**63 - 1


class PageSerializer(Serializer[Any]):
    """The query of GET /v1/generations."""

    limit = WholeNumberField(
        nothing=DEFAULT_PAGE_SIZE,
        least=1,
        most=MAX_PAGE_SIZE,
        help_text=f"The number of generations to list. A number above {MAX_PAGE_SIZE} counts as {MAX_PAGE_SIZE}.",
    )
    offset = WholeNumberField(
        nothing=0, least=0, most=MAX_OFFSET, help_text="The number of newest generations to skip."
    )


class HistoryView(ApiView):
    """The endpoint GET /v1/generations."""

    authentication_classes = [FreshAccountAuthentication]

    def get(self, request: Request) -> Response:
        """Return one page of the account's generations, newest first."""
        query = PageSerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        limit, offset = query.validated_data["limit"], query.validated_data["offset"]
        # Every generation has exactly one hold, and the account counts its holds.
        total = self.account.hold_count
        rows = queries.get_page(account_id=self.account.pk, total=total, limit=limit, offset=offset)
        return Response(response_bodies.history_reply(rows, total, limit, offset))
