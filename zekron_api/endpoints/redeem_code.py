"""The endpoint POST /v1/redemptions, which credits a redemption code to the account."""

from typing import Any, Final

from django.http import HttpRequest
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from billing import codes
from billing.grants import Scope
from billing.models import Account
from zekron_api.endpoints import fields
from zekron_api.endpoints.reply_fields import constant, time_field, usd_field
from zekron_api.endpoints.views import ApiView
from zekron_api.http import login_limit, redemption_limit
from zekron_api.http.errors import InvalidField
from zekron_api.http.json_body import read_body


@extend_schema_field({"type": "string"})
class CodeField(fields.CheckedField):
    """The text of a redemption code."""

    def checked(self, value: object) -> str:
        """Return the text as it was sent; raise InvalidField."""
        if not isinstance(value, str):
            raise InvalidField("invalid_parameter", f"code must be a string, not {fields.json_type(value)}.")
        return value


@extend_schema_serializer(component_name="RedemptionRequest")
class RedemptionRequestSerializer(Serializer[Any]):
    """The body of POST /v1/redemptions. Unknown fields are ignored."""

    code = CodeField(
        help_text="The code. Capitals, blanks, line ends, hyphens and dashes do not matter. "
        "O is read as 0, and I and L as 1."
    )


class RedemptionSerializer(Serializer[Any]):
    """The credit of a code."""

    amount = usd_field("The amount that the code credited, in USD.", source="code.amount_micros")
    balance = usd_field("The account's balance now, in USD.", source="account.balance_micros")
    currency = constant("USD")
    redeemed_at = time_field("When the account redeemed the code.", source="code.redeemed_at")


class RedemptionReplySerializer(Serializer[Any]):
    """The reply with the credit of a code."""

    success = constant(True)
    data = RedemptionSerializer(source="*")  # type: ignore[assignment]


# A serializer copies its fields when it is made, which takes longer than to write a reply with them.
_REPLY: Final = RedemptionReplySerializer()


class RedemptionView(ApiView):
    """The endpoint POST /v1/redemptions."""

    scopes = {"POST": Scope.BILLING}

    def post(self, request: Request) -> Response:
        """Credit the code's amount to the account, or show the credit again to the account that has it."""
        text = read_body(request, RedemptionRequestSerializer)["code"]
        redeemed = redeem(request._request, account=self.account, text=text)
        response = Response(_REPLY.to_representation(redeemed))
        if redeemed.is_replay:
            response["Idempotent-Replayed"] = "true"
        return response


def redeem(request: HttpRequest, *, account: Account, text: str) -> codes.Redemption:
    """Credit the code to the account. Raises InvalidCode, or FailuresExceeded after too many invalid ones."""
    address = login_limit.address_of(request)
    redemption_limit.refuse_guessing(account=account, address=address)
    try:
        return codes.redeem(account_id=account.pk, text=text)
    except codes.InvalidCode:
        redemption_limit.count_failure(account=account, address=address)
        raise
