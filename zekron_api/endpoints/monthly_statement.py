"""The endpoint GET /v1/statements/{month}: the statement of a month, to print or as CSV."""

import re
from typing import Any, Final, NoReturn

from csp.constants import NONE, SELF
from csp.decorators import csp
from django.http import HttpResponse
from django.utils.decorators import method_decorator
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from billing.grants import Scope
from workers.usage import monthly_statement
from zekron_api.endpoints import time_range
from zekron_api.endpoints.list_generations import FilterField
from zekron_api.endpoints.views import ApiView
from zekron_api.http.errors import InvalidField

_MONTH: Final = re.compile(r"(2[0-9]{3})-(0[1-9]|1[0-2])")
_HTML, _CSV = "html", "csv"
# The page loads its stylesheet and nothing else.
POLICY: Final = {
    "default-src": [NONE],
    "style-src": [SELF],
    "base-uri": [NONE],
    "form-action": [NONE],
    "frame-ancestors": [NONE],
}


class StatementQuerySerializer(Serializer[Any]):
    """The query of GET /v1/statements/{month}."""

    format = FilterField(allowed=(_HTML, _CSV), help_text="The format: `html` without it.")


class StatementView(ApiView):
    """The endpoint GET /v1/statements/{month}."""

    scopes = {"GET": Scope.USAGE}

    @method_decorator(csp(POLICY))
    def get(self, request: Request, month: str) -> HttpResponse:
        """Return the statement of a month that is over. Nothing changes it any more."""
        time_range.refuse_repeated(request, ("format",))
        query = StatementQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        statement = self._make(month)
        if query.validated_data["format"] != _CSV:
            return HttpResponse(
                monthly_statement.write_html(statement), content_type="text/html; charset=utf-8"
            )
        response = HttpResponse(
            monthly_statement.write_csv(statement), content_type="text/csv; charset=utf-8"
        )
        response["Content-Disposition"] = f'attachment; filename="statement-{month}.csv"'
        return response

    def _make(self, month: str) -> monthly_statement.Statement:
        year, number = read_month(month)
        try:
            return monthly_statement.make(account=self.account, year=year, month=number)
        except monthly_statement.NotClosed:
            refuse_open_month()
        except monthly_statement.BeforeAccount:
            raise exceptions.NotFound from None


def read_month(text: str) -> tuple[int, int]:
    """Return year and month. Raises InvalidField."""
    found = _MONTH.fullmatch(text)
    if found is None:
        raise InvalidField("invalid_parameter", "month must be a year and a month, such as 2026-11.")
    return int(found[1]), int(found[2])


def refuse_open_month() -> NoReturn:
    """Raise InvalidField for a month whose statement can still change."""
    message = (
        "month must be over. Its statement is there some minutes after its end in UTC. "
        "GET /v1/usage and GET /v1/ledger have the present month."
    )
    raise InvalidField("invalid_parameter", message)
