"""Lanes of requests that wait for Stripe: a slow Stripe delays nobody else's requests."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.billing import stripe_stub
from tests.billing.stripe_stub import StripeStub
from tests.zekron_api import asgi_client
from tests.zekron_api.callers import Caller, payer
from zekron_api.waiting.asgi_handler import THREAD_COUNT

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_SECONDS = 30
JSON = ("content-type", "application/json")


class SlowStripe:
    """Stripe's side, which answers nothing until it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_asked, self.released = threading.Event(), threading.Event()
        answer = StripeStub.request

        def request(*args: Any, **options: Any) -> Any:
            self.is_asked.set()
            assert self.released.wait(PATIENCE_SECONDS)
            return answer(*args, **options)

        monkeypatch.setattr(StripeStub, "request", request)


@pytest.mark.parametrize("what", ["orders", "events"])
def test_requests_that_wait_for_stripe_take_no_thread_of_others(
    room: asgi_client.Served, me: Caller, stripe: StripeStub, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    if what == "orders":
        payers = [payer() for _ in range(2 * THREAD_COUNT)]
        body = json.dumps({"amount": "25.00"}).encode()
        asking = [("/v1/top-ups", [_bearer(who), JSON], body) for who in payers]
    else:
        # The payment of another shop, whose order Stripe must be asked for.
        stripe.payments["pi_other"] = {"id": "pi_other", "object": "payment_intent", "metadata": {}}
        charge = {"payment_intent": "pi_other", "amount_refunded": 100, "currency": "usd", "object": "charge"}
        body = stripe_stub.event("charge.refunded", charge)
        signature = ("stripe-signature", stripe_stub.signature(body))
        asking = [("/stripe/webhook", [signature, JSON], body)] * (2 * THREAD_COUNT)
    slow = SlowStripe(monkeypatch)
    with ThreadPoolExecutor(len(asking)) as clients, ExitStack() as at_the_end:
        at_the_end.callback(slow.released.set)
        sent = [
            clients.submit(room.send, "POST", path, headers, content) for path, headers, content in asking
        ]
        assert slow.is_asked.wait(PATIENCE_SECONDS)
        for _ in range(THREAD_COUNT):
            assert room.send("GET", "/v1/balance", [_bearer(me)]).status_code == 200
        assert not any(each.done() for each in sent)
        at_the_end.close()
        assert {each.result().status_code for each in sent} == {201 if what == "orders" else 200}


def _bearer(who: Caller) -> tuple[str, str]:
    return ("authorization", f"Bearer {who.key}")
