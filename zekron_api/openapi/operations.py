"""What each operation is and does, in words: drf-spectacular finds the routes, and takes the rest from here."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from django.core.exceptions import SuspiciousOperation
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework import exceptions

from billing.keys import InvalidKey
from billing.ledger import AccountSuspended, InsufficientBalance
from workers.lifecycle.admission import QueueTooLong
from workers.lifecycle.generations import TooManyOpen
from workers.lifecycle.idempotency import KeyReused
from zekron_api.endpoints import serializers
from zekron_api.http import errors, rate_limit
from zekron_api.openapi import examples, schemas
from zekron_api.openapi.error_responses import Cause

# What any request with a key may meet, before and after what it asked for.
KEYED: Final[tuple[Cause, ...]] = (
    SuspiciousOperation,
    exceptions.NotAuthenticated,
    InvalidKey,
    AccountSuspended,
    exceptions.MethodNotAllowed,
    rate_limit.RateExceeded,
    RuntimeError,
)
# And one without.
OPEN: Final[tuple[Cause, ...]] = (SuspiciousOperation, exceptions.MethodNotAllowed, RuntimeError)


class Operation(NamedTuple):
    """One method of one path. `causes` are the errors beside those of every request."""

    name: str
    tag: str
    summary: str
    description: str
    reply: str
    reply_description: str
    causes: tuple[Cause, ...] = ()
    parameters: tuple[OpenApiParameter, ...] = ()
    reply_headers: tuple[str, ...] = ()


GENERATE: Final = Operation(
    name="generate",
    tag="Images",
    summary="Make or edit an image",
    description="Makes an image from a prompt; with one or two `images`, edits or combines them. The reply comes "
    "when the image is there, which takes as long as the queue and the model do, and holds the image as base64 "
    "beside its address.\n\n"
    "The price is held when the request is accepted and charged when the image is complete; a request that fails "
    "is free. With an `Idempotency-Key` it is safe to send it again. If your connection breaks, or the reply is "
    "`generation_timeout`, the image is still made and appears in `GET /v1/generations`.\n\n"
    "Fields that are not named here are ignored.",
    reply="GenerateReply",
    reply_description="The image, what it cost, and what is left.",
    causes=(
        exceptions.ParseError,
        "missing_prompt",
        "prompt_too_long",
        "invalid_prompt",
        "invalid_model",
        "invalid_size",
        "too_many_images",
        "invalid_base64",
        "invalid_image",
        errors.InvalidIdempotencyKey,
        InsufficientBalance,
        errors.PayloadTooLarge,
        exceptions.UnsupportedMediaType,
        KeyReused,
        TooManyOpen,
        errors.GenerationFailed,
        errors.ImageUnreachable,
        QueueTooLong,
        errors.ServiceBusy,
        errors.GenerationTimeout,
    ),
    parameters=(
        OpenApiParameter(
            "Idempotency-Key",
            {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
            OpenApiParameter.HEADER,
            description="A name for this request that you choose, 1 to 255 printable ASCII characters. A request with "
            "the same name and content in the next 24 hours gets the reply to this one and costs nothing.",
        ),
    ),
    reply_headers=("Idempotent-Replayed",),
)
IMAGE: Final = Operation(
    name="getImage",
    tag="Images",
    summary="Fetch an image",
    description="The PNG that a generation made, for 24 hours, to any key of the account that made it. Neither the "
    "token without a key, nor a key of another account, is enough.",
    reply="image/png",
    reply_description="The image's bytes.",
    causes=(exceptions.PermissionDenied, exceptions.NotFound, errors.ImageExpired),
    parameters=(
        OpenApiParameter(
            "token",
            {"type": "string", "pattern": schemas.TOKEN_PATTERN},
            OpenApiParameter.PATH,
            description="The `token` of a generation.",
        ),
    ),
)
BALANCE: Final = Operation(
    name="getBalance",
    tag="Account",
    summary="Read the balance",
    description="What is left of the prepaid balance, what was spent, and what open generations hold. "
    "`balance` and `total_spent` count completed generations alone, so they always add up to what was paid in.",
    reply="BalanceReply",
    reply_description="The account's balance.",
)
HISTORY: Final = Operation(
    name="listGenerations",
    tag="Account",
    summary="List generations",
    description="The account's generations, newest first, in pages. Rows stay when their images have expired.",
    reply="HistoryReply",
    reply_description="One page.",
    causes=("invalid_parameter",),
    parameters=(
        OpenApiParameter(
            "limit",
            {"type": "integer", "minimum": 1, "default": serializers.DEFAULT_PAGE_SIZE},
            description=f"How many to list; over {serializers.MAX_PAGE_SIZE} counts as {serializers.MAX_PAGE_SIZE}.",
        ),
        OpenApiParameter(
            "offset",
            {"type": "integer", "minimum": 0, "default": 0},
            description="How many of the newest to leave out.",
        ),
    ),
)
OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("POST", "/v1/generate"): GENERATE,
    ("GET", "/v1/images/{token}"): IMAGE,
    ("GET", "/v1/balance"): BALANCE,
    ("GET", "/v1/generations"): HISTORY,
}
ALIVE: Final = Operation(
    name="isAlive",
    tag="Service",
    summary="Is the process alive?",
    description="Needs no key, and looks at nothing beyond the process itself.",
    reply="Alive",
    reply_description="It is.",
)
READY: Final = Operation(
    name="isReady",
    tag="Service",
    summary="Is the service ready?",
    description="Needs no key. Says of database, Redis, store and workers whether they are there.",
    reply="Ready",
    reply_description="Every part is there.",
)


class ContractSchema(AutoSchema):
    """drf-spectacular's view of a view, with the words above."""

    @property
    def described(self) -> Operation:
        """What is said of this operation; an operation that nobody described is a mistake of ours."""
        return OPERATIONS[self.method, self.path]

    def get_operation_id(self) -> str:
        """A name for generated clients."""
        return self.described.name

    def get_tags(self) -> list[str]:
        """Under which heading it stands."""
        return [self.described.tag]

    def get_summary(self) -> str:
        """One line."""
        return self.described.summary

    # DRF's own, of the same name, is another method.
    def get_description(self) -> str:  # type: ignore[override]
        """Some paragraphs."""
        return self.described.description

    def get_override_parameters(self) -> list[Any]:
        """Path and query."""
        return list(self.described.parameters)

    def get_request_serializer(self) -> Any:
        """The body of a POST."""
        return {"application/json": schemas.ref("GenerateRequest")}

    def get_response_serializers(self) -> Any:
        """The reply on success; `document.py` adds the errors."""
        reply = self.described.reply
        if "/" in reply:
            return {(200, reply): {"type": "string", "format": "binary"}}
        return {200: schemas.ref(reply)}

    def get_examples(self) -> list[OpenApiExample]:
        """What may be sent."""
        if self.described is not GENERATE:
            return []
        return [
            OpenApiExample("create", examples.CREATE, summary="Make an image", request_only=True),
            OpenApiExample("edit", examples.EDIT, summary="Edit an image", request_only=True),
            OpenApiExample("combine", examples.COMBINE, summary="Combine two images", request_only=True),
        ]


class BearerKeyScheme(OpenApiAuthenticationExtension):
    """How a request says whose it is."""

    target_class = "zekron_api.http.authentication.BearerKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """OpenAPI's words for `authentication.py`."""
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "Your API key: `Authorization: Bearer YOUR_API_KEY`. A key begins with `zk_live_`.",
        }
