"""The error envelope, and the one table that maps exceptions to status and type. It knows no endpoint."""

import logging
import sys
from collections.abc import Sequence
from typing import Any, Final

import orjson
from django.conf import settings
from django.core.exceptions import DisallowedHost, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions

from billing.card_top_ups import MAX_PENDING, AmountOutOfBounds, TooManyPending
from billing.codes import InvalidCode
from billing.grants import InvalidGrant
from billing.holds import AccountSuspended
from billing.key_delegation import MAX_KEYS, TooManyKeys
from billing.key_spending import KeySpendLimit
from billing.keys import InvalidKey
from billing.ledger import InsufficientBalance
from billing.stripe_api import StripeRefused, StripeUnavailable
from storage import images
from storage.postgresql import availability
from workers.lifecycle import error_codes
from workers.lifecycle.admission import ModelLoading, QueueTooLong
from workers.lifecycle.generations import TooManyOpen, TooManyQueued
from workers.lifecycle.idempotency import KeyReused
from workers.lifecycle.partials import PartialsSuspended
from workers.messaging import counters
from workers.moderation import CONTENT_POLICY_VIOLATION, ContentRefused, ModerationFailed
from workers.webhook_models import MAX_ENDPOINTS
from workers.webhooks.endpoints import EndpointDisabled, TooManyEndpoints
from zekron_api.http import process_metrics, rate_limit, redemption_limit
from zekron_api.http.authentication import CHALLENGE
from zekron_api.http.byte_range import RangeNotSatisfiable

log = logging.getLogger(__name__)


class InvalidField(Exception):
    """A field of the request is invalid; `error_type` is a type that the contract names.

    `field` is the field's name in the request, where it is one of the serializer's.
    """

    def __init__(self, error_type: str, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.error_type = error_type
        self.field = field


class PayloadTooLarge(Exception):
    """The request body is larger than any valid request."""


class ImageExpired(Exception):
    """The image has expired or was deleted; its bytes are unreadable, or will be at the next purge."""


class PreconditionFailed(Exception):
    """The header If-Match names none of the representation's entity tags."""


class InvalidIdempotencyKey(Exception):
    """The header Idempotency-Key is not 1 to 255 printable ASCII characters."""


class TooManyStreams(Exception):
    """The account watches as many generations at once as it may."""


class WrongMetricsToken(Exception):
    """A request for the metrics has no token or a wrong one."""


class WithoutImage(Exception):
    """The generations that the client waited for give no image; the first one's row may keep the same error code."""

    def __init__(self, message: str, *, code: str, generation_ids: Sequence[int]) -> None:
        super().__init__(message)
        self.code = code
        self.generation_ids = generation_ids


class GenerationFailed(WithoutImage):
    """The generation failed; nothing was charged."""


class PictureRefused(WithoutImage):
    """The picture was made, and the operator's content policy refused it; nothing was charged."""


class ImageUnreachable(WithoutImage):
    """The image was made and charged, but storage is temporarily unavailable."""


class StateUnavailable(WithoutImage):
    """The generation was accepted, and the database that knows its state is temporarily unavailable."""


class ServiceBusy(WithoutImage):
    """No worker started the generation in time, so it was cancelled; nothing was charged."""


class GenerationTimeout(WithoutImage):
    """The generation is not finished yet; its image will be in the history."""


class GenerationCancelled(WithoutImage):
    """The generation was cancelled on request; nothing was charged."""


class QueueTtlExceeded(WithoutImage):
    """No worker began the generation within its time in the queue; nothing was charged."""


class SourcesNotStored(Exception):
    """Object storage took no source image of the request, so nothing was accepted."""


class AlreadyEnded(Exception):
    """A generation that is completed or failed cannot be cancelled."""


class StillOpen(Exception):
    """A generation that is queued or running cannot be deleted."""


class ModelNotAllowed(Exception):
    """The API key may not use this model; the message names those that it may use."""


class MissingScope(Exception):
    """The API key or the person may not make this request; the message says why."""


class SignedOut(exceptions.NotAuthenticated):
    """A page of the console asks for something after its person's session has ended."""


class AddressNotAllowed(Exception):
    """The API key may not be used from the address of the client."""


class UnknownModel(Exception):
    """There is no model of this name; the message names those that there are."""


class ErrorReply(HttpResponse):
    """A reply with the error envelope: `error` is what it says, and `field` the invalid field of the request."""

    def __init__(self, status: int, error: dict[str, object], *, field: str = "") -> None:
        content = orjson.dumps({"success": False, "error": error})
        super().__init__(content, status=status, content_type="application/json")
        self.error = error
        self.field = field


DATABASE_UNAVAILABLE: Final = availability.UNAVAILABLE
_UNAVAILABLE: Final = (
    "The service is temporarily unavailable. Send the request again in a few seconds. "
    "With an Idempotency-Key it is never charged twice."
)
PAYMENTS_UNAVAILABLE: Final = (
    "Card payments are temporarily unavailable. Nothing was charged. Try again later."
)
BUSY: Final = "The service is busy. Nothing was charged. Try again later."
# The first match wins. A message of None stands for the exception's own text, which was written for clients.
TABLE: Final[tuple[tuple[type[Exception], int, str, str | None], ...]] = (
    (OperationalError, 503, "service_unavailable", _UNAVAILABLE),
    (InterfaceError, 503, "service_unavailable", _UNAVAILABLE),
    (StripeUnavailable, 503, "service_unavailable", PAYMENTS_UNAVAILABLE),
    (StripeRefused, 503, "service_unavailable", PAYMENTS_UNAVAILABLE),
    (StateUnavailable, 503, "service_unavailable", None),
    (SourcesNotStored, 503, "service_unavailable", _UNAVAILABLE),
    (ServiceBusy, 503, "service_busy", None),
    (GenerationTimeout, 504, "generation_timeout", None),
    (GenerationCancelled, 409, "generation_cancelled", None),
    (QueueTtlExceeded, 409, "queue_ttl_exceeded", None),
    (AlreadyEnded, 409, "already_ended", "The generation has ended already, so there is nothing to cancel."),
    (StillOpen, 409, "still_open", "The generation is queued or running. Cancel it first, then delete it."),
    (
        TooManyEndpoints,
        409,
        "webhook_limit_exceeded",
        f"This account has {MAX_ENDPOINTS} webhooks, and no more are allowed. Delete one, or change one.",
    ),
    (
        TooManyPending,
        409,
        "top_up_limit_exceeded",
        f"This account has {MAX_PENDING} top-ups that wait for their payment, and no more are allowed. Pay one at "
        "its url in GET /v1/top-ups, or wait until its page has ended, a day after it was made.",
    ),
    (EndpointDisabled, 409, "webhook_disabled", "This webhook is disabled. Enable it first."),
    (GenerationFailed, 500, "generation_failed", None),
    (PictureRefused, 400, CONTENT_POLICY_VIOLATION, None),
    (
        ContentRefused,
        400,
        CONTENT_POLICY_VIOLATION,
        "The content policy of this service refuses this request. Nothing was charged. "
        "Change the prompt or the images.",
    ),
    (ModerationFailed, 503, "service_unavailable", _UNAVAILABLE),
    (ImageUnreachable, 500, "image_unreachable", None),
    (InvalidGrant, 400, "invalid_parameter", None),
    # InvalidField carries its own type.
    (InvalidField, 400, "", None),
    (
        InvalidIdempotencyKey,
        400,
        "invalid_idempotency_key",
        "The header Idempotency-Key must be 1 to 255 printable ASCII characters.",
    ),
    (InvalidCode, 400, "invalid_code", None),
    (AmountOutOfBounds, 400, "invalid_parameter", None),
    (exceptions.ParseError, 400, "invalid_json", None),
    (SignedOut, 401, "unauthorized", "You are signed out. Sign in again, then repeat it."),
    (
        exceptions.NotAuthenticated,
        401,
        "unauthorized",
        "Missing API key. Send it as: Authorization: Bearer YOUR_API_KEY",
    ),
    (InvalidKey, 401, "invalid_api_key", "Invalid or inactive API key."),
    (
        WrongMetricsToken,
        401,
        "unauthorized",
        "Missing or wrong token. Send it as: Authorization: Bearer METRICS_TOKEN",
    ),
    (
        InsufficientBalance,
        402,
        "insufficient_balance",
        "Not enough balance for this request. Nothing was charged.",
    ),
    (KeySpendLimit, 402, "key_spend_limit", None),
    (AccountSuspended, 403, "access_denied", "This account is suspended. Contact support."),
    (MissingScope, 403, "key_scope", None),
    (
        AddressNotAllowed,
        403,
        "ip_not_allowed",
        "This API key may not be used from this address. Its owner lists the allowed ones in allowed_ips.",
    ),
    (ModelNotAllowed, 403, "model_not_allowed", None),
    (
        PartialsSuspended,
        403,
        "partials_suspended",
        "This account cancelled more than 20 generations in 24 hours after their partial images were delivered. "
        "Leave partial_images out, or send it again a day later.",
    ),
    (exceptions.PermissionDenied, 403, "access_denied", "No permission to access this resource."),
    (PermissionDenied, 403, "access_denied", "No permission to access this resource."),
    (UnknownModel, 404, "model_not_found", None),
    (exceptions.NotFound, 404, "not_found", "Resource not found."),
    (Http404, 404, "not_found", "Resource not found."),
    (exceptions.MethodNotAllowed, 405, "method_not_allowed", None),
    (ImageExpired, 410, "expired", "The image has expired or was deleted. Images are kept for 24 hours."),
    (PayloadTooLarge, 413, "payload_too_large", "The request body is too large. At most 32 MiB are allowed."),
    (
        RequestDataTooBig,
        413,
        "payload_too_large",
        "The request body is too large. At most 32 MiB are allowed.",
    ),
    (
        PreconditionFailed,
        412,
        "precondition_failed",
        "The header If-Match names another image. Leave it out, or send the ETag of this image.",
    ),
    (exceptions.UnsupportedMediaType, 415, "unsupported_media_type", None),
    (RangeNotSatisfiable, 416, "range_not_satisfiable", None),
    (
        KeyReused,
        422,
        "idempotency_mismatch",
        "This Idempotency-Key was used for another request, whose image may still be fetched. Send a new key.",
    ),
    (
        TooManyKeys,
        409,
        "key_limit_exceeded",
        f"This account has too many API keys. At most {MAX_KEYS} are allowed. Revoke one first.",
    ),
    (TooManyOpen, 429, "concurrency_limit_exceeded", None),
    (TooManyQueued, 429, "queue_limit_exceeded", None),
    (
        TooManyStreams,
        429,
        "stream_limit_exceeded",
        "This account has too many open streams of events. At most 10 are allowed. Close one, then send it again.",
    ),
    (
        rate_limit.PollsExceeded,
        429,
        "rate_limit_exceeded",
        "This account polled too often. At most 600 requests for single generations are allowed in 60 seconds. "
        "Wait, then send it again, or watch GET /v1/generations/{id}/events.",
    ),
    (
        rate_limit.MessagesExceeded,
        429,
        "rate_limit_exceeded",
        "This account sent too many messages to /mcp. At most 600 are allowed in 60 seconds. Wait, then send it again.",
    ),
    (
        redemption_limit.FailuresExceeded,
        429,
        "rate_limit_exceeded",
        "Too many codes were refused within the last hour. Wait, then send a valid one.",
    ),
    (rate_limit.RateExceeded, 429, "rate_limit_exceeded", None),
    (ModelLoading, 503, "service_busy", None),
    (QueueTooLong, 503, "service_busy", BUSY),
    (
        DisallowedHost,
        400,
        "bad_request",
        "The header Host names a host that this service does not serve. Check the address of the request. "
        "Operators list the served hosts in ALLOWED_HOSTS.",
    ),
    (SuspiciousOperation, 400, "bad_request", "The request cannot be understood."),
)
INTERNAL: Final = (
    500,
    "internal_error",
    "Something went wrong on our side. Send the request again, or contact support.",
)
LOCKOUT_TYPE: Final = "too_many_logins"
# For replies of Django or a library, whose exceptions do not reach this module.
_BY_STATUS: Final = {
    400: ("bad_request", "The request cannot be understood."),
    403: ("access_denied", "No permission to access this resource."),
    404: ("not_found", "Resource not found."),
    405: ("method_not_allowed", "This method is not allowed for this path."),
    408: ("request_timeout", "The request body took too long to arrive. Send it again."),
    413: ("payload_too_large", "The request body is too large. At most 32 MiB are allowed."),
}
# The official clients of OpenAI wait this long at most, and then try again early or not at all.
MAX_RETRY_AFTER_SECONDS: Final = 60
# The Retry-After of exceptions that carry no `wait_seconds`.
_RETRY_AFTER_SECONDS: Final = {429: 1, 503: 10}


def reply_to(error: Exception) -> ErrorReply:
    """Build the reply to any exception by the table, else a 500, and log a line under the same error code."""
    if isinstance(error, images.ImageUnreadable | images.ObjectMissing):
        counters.count_unreadable_image()
    entry = describe(error)
    if entry is INTERNAL:
        log.error("unexpected", exc_info=error)
    elif _is_refused_by_database(error):
        log.error("PostgreSQL refused a statement", exc_info=error)
    return _logged(error, *entry)


def describe(error: Exception) -> tuple[int, str, str]:
    """Return status, type and message of the reply to any exception. The table decides, else INTERNAL."""
    for exception_type, status, error_type, message in TABLE:
        if isinstance(error, exception_type):
            return status, error_type or getattr(error, "error_type", ""), message or _own_message(error)
    return INTERNAL


def reply_with_status(status: int) -> ErrorReply:
    """Build the reply for a status alone."""
    error_type, message = _BY_STATUS.get(status, INTERNAL[1:] if status >= 500 else _BY_STATUS[400])
    return envelope(status, error_type, message, error_codes.new_code(error_type=error_type))


def envelope(
    status: int, error_type: str, message: str, code: str, *, field: str = "", **more: object
) -> ErrorReply:
    """Build `{"success": false, "error": {message, code, type, support}}`, with `more` inside `error`."""
    error = {
        "message": message,
        "code": code,
        "type": error_type,
        "support": f"Contact support with error code: {code}",
        **more,
    }
    return ErrorReply(status, error, field=field)


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """Reply to an exception of a view; DRF calls it."""
    return reply_to(error)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Reply with 400; Django calls it."""
    return reply_to(exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Reply with 403; Django calls it."""
    return reply_to(exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Reply with 404; Django calls it."""
    return reply_to(exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Reply to an exception that no view handled, such as those of the admin; Django calls it inside the handler."""
    error = sys.exception()
    if not isinstance(error, DATABASE_UNAVAILABLE):
        return reply_with_status(500)
    response = reply_to(error)
    # Django would log the trace of each request, and the database's absence is logged once.
    response._has_been_logged = True  # type: ignore[attr-defined] # Django marks it so
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Reply with 403 to a form without its CSRF token; Django calls it."""
    return reply_with_status(403)


def lockout() -> HttpResponse:
    """Build the 429 for a browser that failed to log in too often, whatever the password."""
    wait_seconds = int(settings.LOGIN_LOCKOUT.total_seconds())
    message = f"Too many failed logins. Try again in {wait_seconds // 60} minutes, or ask the operator."
    return refuse_login(message, wait_seconds=wait_seconds)


def too_many_requests(request: HttpRequest) -> HttpResponse:
    """Reply with 429 to a browser that is over one of the limits of django-allauth, which calls it."""
    return refuse_login("Too many tries. Try again in a minute.", wait_seconds=60)


def mail_failed() -> HttpResponse:
    """Build the 503 for a browser whose page needed a mail, which could not be sent."""
    error_type = "service_unavailable"
    message = "The mail could not be sent. Try again in a few minutes."
    failed = envelope(503, error_type, message, error_codes.new_code(error_type=error_type))
    failed["Retry-After"] = "60"
    return failed


def refuse_login(message: str, *, wait_seconds: int) -> HttpResponse:
    """Build the 429 for a login that was refused before its password was looked at."""
    refused = envelope(429, LOCKOUT_TYPE, message, error_codes.new_code(error_type=LOCKOUT_TYPE))
    refused["Retry-After"] = str(wait_seconds)
    return refused


def _is_refused_by_database(error: Exception) -> bool:
    """Return whether PostgreSQL answered with an error, such as a deadlock, and was not merely away.

    An absence has no SQLSTATE, or one of the classes 08 (connection) and 57P (operator intervention).
    """
    state = getattr(error.__cause__, "sqlstate", None) if isinstance(error, DATABASE_UNAVAILABLE) else None
    return state is not None and not state.startswith(("08", "57P"))


def _own_message(error: Exception) -> str:
    return str(getattr(error, "detail", error))


def _is_worth_retrying(error: Exception, response: HttpResponse) -> bool | None:
    """Return whether a client's library should send the request again by itself, or None if the status tells it.

    The official clients of OpenAI repeat any 409, 429 and 5xx, after seconds if Retry-After is over a minute. An image
    that is accepted would be bought a second time.
    """
    if isinstance(error, WithoutImage) or response.status_code == 409:
        return False
    if "Retry-After" in response:
        return int(response["Retry-After"]) <= MAX_RETRY_AFTER_SECONDS
    return None


def list_generations(error: WithoutImage) -> dict[str, object]:
    """Return the fields that say where the images are, or will be. Only a request for several images has a list."""
    ids = error.generation_ids
    return {"generation_id": ids[0], **({"generation_ids": list(ids)} if len(ids) > 1 else {})}


def _logged(error: Exception, status: int, error_type: str, message: str) -> ErrorReply:
    code = getattr(error, "code", "") or error_codes.new_code(error_type=error_type)
    log.info("%s %d %s", code, status, error_type, extra={"error_code": code, "status": status})
    if not isinstance(error, WithoutImage) and status != INTERNAL[0]:
        process_metrics.REFUSED.labels(error_type).inc()
    more = list_generations(error) if isinstance(error, WithoutImage) else {}
    response = envelope(status, error_type, message, code, field=getattr(error, "field", ""), **more)
    if status in _RETRY_AFTER_SECONDS:
        response["Retry-After"] = str(getattr(error, "wait_seconds", None) or _RETRY_AFTER_SECONDS[status])
    if status == 401:
        response["WWW-Authenticate"] = CHALLENGE
    if isinstance(error, WithoutImage):
        response["Location"] = f"/v1/generations/{error.generation_ids[0]}"
    if (is_worth_retrying := _is_worth_retrying(error, response)) is not None:
        response["x-should-retry"] = "true" if is_worth_retrying else "false"
    if isinstance(error, RangeNotSatisfiable):
        response["Content-Range"] = f"bytes */{error.byte_count}"
    return response
