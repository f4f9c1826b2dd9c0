"""The calls to Stripe. The library is an optional requirement, and is imported by the first call.

The module knows no table. Amounts are whole cents of US dollars.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.conf import settings

log = logging.getLogger(__name__)

# A view waits in one of the few threads of its process.
_TIMEOUT_SECONDS: Final = 10
_METADATA: Final = "zekron_order"
_REFUND_METADATA: Final = "zekron_refund"
# The money of such a refund is back on the operator's balance, and no later status brings it to the card.
_FAILED: Final = frozenset({"failed", "canceled"})


class StripeUnavailable(Exception):
    """Stripe did not answer, or not with an answer to this request."""


class StripeRefused(Exception):
    """Stripe refused the request."""


class InvalidSignature(Exception):
    """The event was not signed with the webhook's secret, or too long ago."""


class Session(NamedTuple):
    """A Checkout Session: `is_open` while the customer may still pay on the page `url`."""

    id: str
    url: str
    order: str | None
    payment_intent: str | None
    is_open: bool
    is_paid: bool
    amount_cents: int
    currency: str


class Refund(NamedTuple):
    """A refund of a payment: `asked` is our name of it, if the service asked for it."""

    id: str
    payment_intent: str | None
    amount_cents: int
    currency: str
    is_failed: bool
    asked: str | None


def is_on() -> bool:
    """Return whether card payments are configured."""
    return bool(settings.STRIPE_SECRET_KEY and settings.STRIPE_WEBHOOK_SECRET)


def create_session(*, order_id: UUID, amount_cents: int, return_url: str) -> Session:
    """Make the page on which the customer pays the order, and from which the customer goes to `return_url`.

    A second call for an order returns the same page. Raises StripeUnavailable or StripeRefused.
    """
    name = str(order_id)
    price = {"currency": "usd", "unit_amount": amount_cents, "product_data": {"name": "Prepaid balance"}}
    with _errors():
        made = _client().v1.checkout.sessions.create(
            {
                "mode": "payment",
                "client_reference_id": name,
                "line_items": [{"price_data": price, "quantity": 1}],
                "allowed_payment_method_types": ["card"],
                # The page would otherwise offer to pay in the customer's own currency.
                "adaptive_pricing": {"enabled": False},
                "payment_intent_data": {"metadata": {_METADATA: name}},
                "metadata": {_METADATA: name},
                "invoice_creation": {"enabled": True},
                "success_url": return_url,
                "cancel_url": return_url,
            },
            {"idempotency_key": name},
        )
        return read_session(made)


def retrieve_session(*, session_id: str) -> Session:
    """Return the session as it is now. Raises StripeUnavailable or StripeRefused."""
    with _errors():
        return read_session(_client().v1.checkout.sessions.retrieve(session_id))


def find_order_of_payment(*, payment_intent_id: str) -> str | None:
    """Ask which order a payment is for. None if it is none of ours. Raises StripeUnavailable or StripeRefused."""
    with _errors():
        payment = _client().v1.payment_intents.retrieve(payment_intent_id)
        order: str | None = _get(_get(payment, "metadata") or {}, _METADATA)
        return order


def create_refund(*, refund_id: UUID, payment_intent_id: str, amount_cents: int) -> Refund:
    """Refund a part of a payment. It may fail later. A second call for a refund within a day refunds nothing more.

    Raises StripeUnavailable or StripeRefused.
    """
    with _errors():
        made = _client().v1.refunds.create(
            {
                "payment_intent": payment_intent_id,
                "amount": amount_cents,
                "metadata": {_REFUND_METADATA: str(refund_id)},
            },
            {"idempotency_key": str(refund_id)},
        )
        return read_refund(made)


def read_event(*, content: bytes, signature: str) -> tuple[str, Mapping[str, Any]]:
    """Return the type and the object of a signed event. Raises InvalidSignature."""
    stripe = import_module("stripe")
    if not signature.isascii():
        # The library compares such a text with an error of its own.
        raise InvalidSignature("The header is not in ASCII.")
    try:
        event = _client().construct_event(content, signature, settings.STRIPE_WEBHOOK_SECRET)
    except (stripe.SignatureVerificationError, ValueError) as error:
        raise InvalidSignature(str(error)[:200]) from None
    return event.type, event.data.object


def read_session(made: Any) -> Session:
    """Return the part of Stripe's session that matters here."""
    return Session(
        id=made["id"],
        url=_get(made, "url") or "",
        # Anyone can set client_reference_id, in the address of a Payment Link of another shop on the same account.
        order=_get(_get(made, "metadata") or {}, _METADATA),
        payment_intent=id_of(_get(made, "payment_intent")),
        is_open=_get(made, "status") == "open",
        is_paid=made["payment_status"] == "paid",
        # A session for no payment has none. Other shops on the same account may have such.
        amount_cents=_get(made, "amount_total") or 0,
        currency=_get(made, "currency") or "",
    )


def read_refund(made: Any) -> Refund:
    """Return the part of Stripe's refund that matters here."""
    return Refund(
        id=made["id"],
        payment_intent=id_of(_get(made, "payment_intent")),
        amount_cents=made["amount"],
        currency=made["currency"],
        is_failed=_get(made, "status") in _FAILED,
        asked=_get(_get(made, "metadata") or {}, _REFUND_METADATA),
    )


def id_of(reference: Any) -> str | None:
    """Return the id of an object that Stripe shows as its id, as the whole object, or not at all."""
    return reference if reference is None or isinstance(reference, str) else str(reference["id"])


def make_http_client() -> Any:
    """Make the HTTP client of the calls. Tests put another one in its place."""
    return import_module("stripe").RequestsClient(timeout=_TIMEOUT_SECONDS)


def _client() -> Any:
    return _make_client(settings.STRIPE_SECRET_KEY)


@lru_cache(maxsize=1)
def _make_client(secret_key: str) -> Any:
    stripe = import_module("stripe")
    return stripe.StripeClient(secret_key, http_client=make_http_client(), max_network_retries=1)


def _get(stripe_object: Any, name: str) -> Any:
    # Objects of the library are no dictionaries.
    try:
        return stripe_object[name]
    except KeyError:
        return None


@contextmanager
def _errors() -> Iterator[None]:
    stripe = import_module("stripe")
    try:
        yield
    except (stripe.InvalidRequestError, stripe.CardError) as error:
        log.error("Stripe refused a request: %s %s", type(error).__name__, error.code)
        raise StripeRefused("Stripe refused the request.") from error
    except stripe.StripeError as error:
        # A wrong key, too many requests, an error of Stripe's own, or no connection.
        log.error("Stripe is unavailable: %s %s", type(error).__name__, error.http_status)
        raise StripeUnavailable("The payment provider is temporarily unavailable.") from error
