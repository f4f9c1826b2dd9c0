"""The endpoints POST and GET /v1/top-ups and GET /v1/top-ups/{id}: prepaid balance by card."""

from typing import Any, Final
from uuid import UUID

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import exceptions
from rest_framework.fields import CharField
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from billing import card_top_ups, money, stripe_api
from billing.card_models import TopUpOrder
from billing.grants import Scope
from zekron_api.endpoints import fields
from zekron_api.endpoints.reply_fields import ReplyField, choice, constant, time_field, usd_field
from zekron_api.endpoints.views import ApiView
from zekron_api.http.errors import InvalidField
from zekron_api.http.json_body import read_body


@extend_schema_field({"type": "string", "pattern": r"^\d{1,5}(\.\d{1,2})?$"})
class AmountField(fields.CheckedField):
    """An amount in dollars, as a string."""

    def checked(self, value: object) -> int:
        """Return the micros; raise InvalidField."""
        try:
            if not isinstance(value, str):
                raise ValueError
            return money.parse_usd(value)
        except ValueError:
            message = 'amount must be a string with US dollars in whole cents, such as "25.00".'
            raise InvalidField("invalid_parameter", message) from None


@extend_schema_serializer(component_name="TopUpRequest")
class TopUpRequestSerializer(Serializer[Any]):
    """The body of POST /v1/top-ups. Unknown fields are ignored."""

    amount = AmountField(help_text="The amount in USD, in whole cents. The operator sets the bounds.")


class TopUpSerializer(Serializer[Any]):
    """An order of balance by card."""

    id = CharField(source="pk", help_text="The name of the order.")
    status = choice(
        TopUpOrder.Status.values,
        help_text="`paid` once the balance has the amount. `expired` and `failed` orders cannot be paid any more.",
    )
    amount = usd_field("The amount, in USD.", source="amount_micros")
    currency = constant("USD")
    url = ReplyField(
        {"type": ["string", "null"]},
        lambda order: order.url if order.status == TopUpOrder.Status.PENDING and order.url else None,
        "The page on which a person pays, while the order is pending.",
        source="*",
    )
    reversed = usd_field(
        "The part that refunds and disputes have taken out of the account again.", source="taken_micros"
    )
    created_at = time_field("When the order was made.")
    paid_at = time_field("When the payment was known.", allow_null=True)


class TopUpReplySerializer(Serializer[Any]):
    """The reply with one order."""

    success = constant(True)
    data = TopUpSerializer(source="*")  # type: ignore[assignment]


class TopUpListSerializer(Serializer[Any]):
    """The newest orders, newest first."""

    top_ups = TopUpSerializer(many=True)


class TopUpListReplySerializer(Serializer[Any]):
    """The reply with the newest orders."""

    success = constant(True)
    data = TopUpListSerializer(source="*")  # type: ignore[assignment]


# A serializer copies its fields when it is made, which takes longer than to write a reply with them.
_REPLY: Final = TopUpReplySerializer()
_LIST: Final = TopUpListReplySerializer()


class TopUpsView(ApiView):
    """The endpoint /v1/top-ups. It is 404 unless the operator takes cards."""

    scopes = {"GET": Scope.BILLING, "POST": Scope.BILLING}

    def post(self, request: Request) -> Response:
        """Order an amount, and return the page on which a person pays it."""
        _require_cards()
        sent = read_body(request, TopUpRequestSerializer)
        order = card_top_ups.order(account_id=self.account.pk, amount_micros=sent["amount"])
        return Response(_REPLY.to_representation(order), status=201)

    def get(self, request: Request) -> Response:
        """Return the account's newest orders."""
        _require_cards()
        orders = card_top_ups.list_newest(account_id=self.account.pk)
        return Response(_LIST.to_representation({"top_ups": orders}))


class TopUpView(ApiView):
    """The endpoint GET /v1/top-ups/{id}."""

    scopes = {"GET": Scope.BILLING}

    def get(self, request: Request, top_up_id: str) -> Response:
        """Return one order of the account."""
        _require_cards()
        try:
            order = TopUpOrder.objects.get(pk=UUID(top_up_id), account_id=self.account.pk)
        except (ValueError, TopUpOrder.DoesNotExist):
            raise exceptions.NotFound from None
        return Response(_REPLY.to_representation(order))


def _require_cards() -> None:
    if not stripe_api.is_on():
        raise exceptions.NotFound
