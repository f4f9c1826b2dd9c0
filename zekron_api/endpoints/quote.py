"""The endpoint POST /v1/quote: the price of a request and what stands in its way. It holds and stores nothing."""

from typing import Any, Final, NamedTuple

from rest_framework.fields import BooleanField, CharField, IntegerField
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from billing.grants import Scope
from billing.models import Account
from billing.money import format_usd
from billing.prices import PriceLine
from workers.catalogue import ImageModel
from workers.lifecycle import admission
from zekron_api.endpoints.create_generation import refuse_model
from zekron_api.endpoints.reply_fields import ReplyField, choice, constant, usd_field
from zekron_api.endpoints.serializers import QuoteSerializer
from zekron_api.endpoints.views import ApiView
from zekron_api.http.json_body import read_body

_PARTS: Final = ("base", "size", "source_images", "minimum", "maximum")
_SIGNED_USD: Final = {"type": "string", "pattern": r"^-?\d+\.\d{4}$"}


class Quote(NamedTuple):
    """The price of one request, for an account at this moment."""

    cost_micros: int
    lines: list[PriceLine]
    n: int
    size: str
    account: Account
    estimated_wait_seconds: int | None

    @property
    def is_affordable(self) -> bool:
        """Return True if the account could hold the price now."""
        return self.cost_micros <= self.account.available_micros


class PriceLineSerializer(Serializer[Any]):
    """A part of the price."""

    what = choice(_PARTS, help_text="`minimum` and `maximum` are corrections to the price's bounds.")
    amount = ReplyField(
        _SIGNED_USD, format_usd, "The amount in USD. It is negative for `maximum`.", source="micros"
    )


class QuoteDataSerializer(Serializer[Any]):
    """The price of a request. POST /v1/generate with the same body holds exactly `cost`, or less."""

    cost = usd_field("The amount that would be held, in USD.", source="cost_micros")
    currency = constant("USD")
    breakdown = PriceLineSerializer(many=True, source="lines", help_text="The parts, whose sum is `cost`.")
    n = IntegerField(min_value=1, help_text="The number of images.")
    resolved_size = CharField(help_text="The size that would be made.", source="size")
    available = usd_field("The amount that the account can hold now.", source="account.available_micros")
    affordable = BooleanField(source="is_affordable", help_text="Whether `available` is enough.")
    estimated_wait_seconds = ReplyField(
        {"type": "integer", "minimum": 0},
        lambda seconds: seconds,
        "The predicted time until a worker would start, or null while none is there.",
        allow_null=True,
    )


class QuoteReplySerializer(Serializer[Any]):
    """The reply with a price."""

    success = constant(True)
    data = QuoteDataSerializer(source="*")  # type: ignore[assignment]


# A serializer copies its fields when it is made, which takes longer than to write a reply with them.
_REPLY: Final = QuoteReplySerializer()


class QuoteView(ApiView):
    """The endpoint POST /v1/quote."""

    scopes = {"POST": Scope.GENERATE}

    def post(self, request: Request) -> Response:
        """Return the price of the request that the body describes, and whether the account can pay it."""
        fields = read_body(request, QuoteSerializer)
        refuse_model(fields["model"], grants=self.caller.grants)
        return Response(_REPLY.to_representation(_quote(self.account, fields)))


def _quote(account: Account, fields: dict[str, Any]) -> Quote:
    model: ImageModel = fields["model"]
    width, height = fields["size"]
    asked = {"width": width, "height": height, "source_count": len(fields["images"])}
    return Quote(
        cost_micros=fields["n"] * model.price.quote_micros(**asked),
        lines=[PriceLine(what, fields["n"] * micros) for what, micros in model.price.itemise(**asked)],
        n=fields["n"],
        size=str(fields["size"]),
        account=account,
        estimated_wait_seconds=admission.estimate_wait_seconds(model_name=model.name),
    )
