"""The errors of any request: of its key, its rate, its query and its body."""

from functools import partial
from io import BytesIO
from typing import Any, Final

from django.core.exceptions import SuspiciousOperation
from django.core.handlers.wsgi import WSGIRequest
from django.db import OperationalError
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from billing.holds import AccountSuspended
from billing.keys import InvalidKey
from zekron_api.endpoints import (
    views,
)
from zekron_api.http import errors, json_body, rate_limit
from zekron_api.openapi.error_responses import Cause


def query(kind: type[Serializer[Any]], /, **values: str) -> Cause:
    """Return the check of a query with these values."""
    return partial(kind(data=values).is_valid, raise_exception=True)


def send_plain_text(*, takes_form: bool = False) -> None:
    """Check a request whose body is neither JSON nor, where a form is taken, a form."""
    headers = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "1",
        "wsgi.input": BytesIO(),
    }
    json_body.check_body(Request(WSGIRequest(headers)), takes_form=takes_form)


# The published limits, as the examples of refusals name them.
_TOO_MANY_REQUESTS: Final[Cause] = partial(rate_limit.RateExceeded, rate_limit.Rate(60, 0, 0))

_TOO_MANY_POLLS: Final[Cause] = partial(rate_limit.PollsExceeded, rate_limit.Rate(600, 0, 0))

_MISSING_SCOPE: Final[Cause] = partial(
    errors.MissingScope, "This request needs an API key with the scope generate."
)

# The errors of an operation without a key, and the errors of every operation with one.
OPEN: Final[tuple[Cause, ...]] = (
    SuspiciousOperation,
    partial(views.refuse_method, "DELETE", ["GET", "HEAD"]),
    RuntimeError,
)

KEYED: Final[tuple[Cause, ...]] = (
    *OPEN,
    exceptions.NotAuthenticated,
    InvalidKey,
    AccountSuspended,
    errors.AddressNotAllowed,
    _TOO_MANY_REQUESTS,
    OperationalError,
)

# The operations for which a key needs no scope.
WITHOUT_SCOPE: Final = frozenset({"listModels", "getModel", "verify", "createImageVariation"})

# The operations with the limit of polls in place of the limit of requests.
POLLS: Final = frozenset({"getGeneration", "watchGeneration"})


def common_causes(operation_id: str, *, needs_key: bool) -> tuple[Cause, ...]:
    """Return the errors of an operation that are not its own."""
    common: tuple[Cause, ...] = KEYED if needs_key else OPEN
    if needs_key and operation_id not in WITHOUT_SCOPE:
        common = (*common, _MISSING_SCOPE)
    if operation_id in POLLS:
        common = tuple(_TOO_MANY_POLLS if cause is _TOO_MANY_REQUESTS else cause for cause in common)
    return common
