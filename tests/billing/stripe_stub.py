"""Stripe without a network: a client of HTTP that answers as Stripe does, and events in the shapes of Stripe's own.

The library itself is real: it makes the requests, reads the replies and checks the signatures.
"""

import hashlib
import hmac
import itertools
import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import stripe
from django.test import Client

from billing.card_models import MICROS_PER_CENT, TopUpOrder

SECRET_KEY = "sk_test_stub"
WEBHOOK_SECRET = "whsec_stub"
_numbers = itertools.count(1)


class Call:
    """One request of the library."""

    def __init__(self, method: str, url: str, headers: Any, post_data: Any) -> None:
        self.method, self.path = method, urlsplit(url).path
        self.key = (headers or {}).get("Idempotency-Key")
        self.form = {name: values[0] for name, values in parse_qs(post_data or "").items()}


class StripeStub(stripe.HTTPClient):
    """Stripe's side: its sessions, its payments and its refunds. `failure` is what it replies instead, as a status."""

    name = "stub"

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.sessions: dict[str, dict[str, Any]] = {}
        self.payments: dict[str, dict[str, Any]] = {}
        self.replies: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.refund_status = "succeeded"
        self.failure: int | None = None
        # The sessions that Stripe does not know any more.
        self.unknown: set[str] = set()

    def request(self, method: str, url: str, headers: Any, post_data: Any = None, **_: Any) -> Any:
        """Answer one request, as the library's own client does."""
        call = Call(method, url, headers, post_data)
        self.calls.append(call)
        if self.failure == 0:
            raise stripe.APIConnectionError("no connection")  # type: ignore[no-untyped-call] # of the library
        if self.failure is not None:
            kind = "invalid_request_error" if self.failure == 400 else "api_error"
            return json.dumps({"error": {"type": kind, "message": "no"}}), self.failure, {}
        if call.path.rpartition("/")[2] in self.unknown:
            return (
                json.dumps({"error": {"type": "invalid_request_error", "code": "resource_missing"}}),
                404,
                {},
            )
        return json.dumps(self._reply(call)), 200, {}

    def close(self) -> None:
        """Do nothing, because nothing is open."""

    def _reply(self, call: Call) -> dict[str, Any]:
        if call.key in self.replies:
            return self.replies[call.key]
        if call.method == "post" and call.path == "/v1/checkout/sessions":
            made = self._make_session(call)
        elif call.method == "get" and call.path.startswith("/v1/checkout/sessions/"):
            return self.sessions[call.path.rpartition("/")[2]]
        elif call.method == "get" and call.path.startswith("/v1/payment_intents/"):
            return self.payments[call.path.rpartition("/")[2]]
        else:
            assert (call.method, call.path) == ("post", "/v1/refunds")
            made = self._make_refund(call)
        if call.key is not None:
            self.replies[call.key] = made
        return made

    def _make_session(self, call: Call) -> dict[str, Any]:
        number, order = next(_numbers), call.form["client_reference_id"]
        payment = f"pi_{number}"
        self.payments[payment] = {
            "id": payment,
            "object": "payment_intent",
            "metadata": {"zekron_order": call.form["payment_intent_data[metadata][zekron_order]"]},
        }
        name = f"cs_test_{number}"
        made: dict[str, Any] = {
            "id": name,
            "object": "checkout.session",
            "amount_total": int(call.form["line_items[0][price_data][unit_amount]"]),
            "client_reference_id": order,
            "currency": call.form["line_items[0][price_data][currency]"],
            "metadata": {"zekron_order": order},
            "mode": call.form["mode"],
            "payment_intent": None,
            "payment_status": "unpaid",
            "status": "open",
            "url": f"https://checkout.stripe.com/c/pay/cs_test_{number}",
        }
        self.sessions[name] = made
        return made

    def _make_refund(self, call: Call) -> dict[str, Any]:
        name = f"re_{next(_numbers)}"
        made = {
            "id": name,
            "object": "refund",
            "amount": int(call.form["amount"]),
            "currency": "usd",
            "metadata": {"zekron_refund": call.form["metadata[zekron_refund]"]},
            "payment_intent": call.form["payment_intent"],
            "status": self.refund_status,
        }
        self.refunds[name] = made
        return made

    def pay(self, order: TopUpOrder) -> dict[str, Any]:
        """Have the customer pay, and return the session."""
        session = self.sessions[order.session_id]
        payment = f"pi_{order.session_id.removeprefix('cs_test_')}"
        session |= {"payment_intent": payment, "payment_status": "paid", "status": "complete", "url": None}
        return session

    def payment_of(self, order: TopUpOrder) -> str:
        """Return Stripe's name of the order's payment."""
        return f"pi_{order.session_id.removeprefix('cs_test_')}"


def event(event_type: str, body: dict[str, Any]) -> bytes:
    """Return an event as Stripe sends it."""
    return json.dumps(
        {
            "id": f"evt_{next(_numbers)}",
            "object": "event",
            "api_version": "2026-10-28.endive",
            "created": 1_790_000_000,
            "data": {"object": body},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": event_type,
        }
    ).encode()


def refunded(stub: StripeStub, order: TopUpOrder, cents: int) -> bytes:
    """Return the event of a refund, after which this much of the payment is refunded in all."""
    payment = stub.payment_of(order)
    amount = order.amount_micros // MICROS_PER_CENT
    charge = {
        "id": f"ch_{payment}",
        "object": "charge",
        "amount": amount,
        "amount_captured": amount,
        "amount_refunded": cents,
        "currency": "usd",
        "metadata": {"zekron_order": str(order.pk)},
        "payment_intent": payment,
        "refunded": cents == amount,
        "status": "succeeded",
    }
    return event("charge.refunded", charge)


def refund(
    stub: StripeStub, order: TopUpOrder, status: str, *, cents: int, name: str = "re_dashboard"
) -> bytes:
    """Return the event of a refund in this status that staff asked for in Stripe's dashboard."""
    payment = stub.payment_of(order)
    body = {
        "id": f"{name}_{payment}",
        "object": "refund",
        "amount": cents,
        "charge": f"ch_{payment}",
        "currency": "usd",
        "metadata": {},
        "payment_intent": payment,
        "status": status,
    }
    return event("refund.failed" if status == "failed" else "refund.updated", body)


def dispute(
    stub: StripeStub, order: TopUpOrder, status: str, *, cents: int | None = None, name: str = "dp_1"
) -> bytes:
    """Return an event of a dispute in this status, by default about the whole payment."""
    payment = stub.payment_of(order)
    kind = "closed" if status in {"won", "lost", "warning_closed"} else "created"
    body = {
        "id": f"{name}_{payment}",
        "object": "dispute",
        "amount": order.amount_micros // MICROS_PER_CENT if cents is None else cents,
        "charge": f"ch_{payment}",
        "currency": "usd",
        "is_charge_refundable": False,
        "metadata": {},
        "payment_intent": payment,
        "reason": "fraudulent",
        "status": status,
    }
    return event(f"charge.dispute.{kind}", body)


def paid(stub: StripeStub, order: TopUpOrder, *, event_type: str = "checkout.session.completed") -> bytes:
    """Have the customer pay, and return the event of it."""
    return event(event_type, stub.pay(order))


def signature(content: bytes, *, secret: str = WEBHOOK_SECRET, age_seconds: int = 0) -> str:
    """Sign an event as Stripe does."""
    sent_at = int(time.time()) - age_seconds
    digest = hmac.new(secret.encode(), f"{sent_at}.{content.decode()}".encode(), hashlib.sha256).hexdigest()
    return f"t={sent_at},v1={digest}"


def send(content: bytes, **signed: Any) -> Any:
    """Send an event to the webhook."""
    return Client(raise_request_exception=False).post(
        "/stripe/webhook",
        content,
        content_type="application/json; charset=utf-8",
        headers={"Stripe-Signature": signature(content, **signed)},
    )
