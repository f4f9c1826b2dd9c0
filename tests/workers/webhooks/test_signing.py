"""Signatures, by verifiers that others wrote."""

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import openai
import pytest
import standardwebhooks
import svix

from tests import factories
from tests.workers.webhooks import made
from workers.webhooks import endpoints, messages, signing

pytestmark = pytest.mark.django_db

Verify = Callable[[bytes, Mapping[str, str], str], object]


def _by_openai(body: bytes, headers: Mapping[str, str], secret: str) -> None:
    client = openai.OpenAI(api_key="none")
    client.webhooks.verify_signature(body, headers, secret=secret)


VERIFIERS: dict[str, Verify] = {
    "standardwebhooks": lambda body, headers, secret: standardwebhooks.Webhook(secret).verify(
        body, dict(headers)
    ),
    "svix": lambda body, headers, secret: svix.Webhook(secret).verify(body, dict(headers)),
    "openai": _by_openai,
}
REFUSALS = (
    standardwebhooks.webhooks.WebhookVerificationError,
    svix.WebhookVerificationError,
    openai.InvalidWebhookSignatureError,
)
every_verifier = pytest.mark.parametrize("verify", VERIFIERS.values(), ids=VERIFIERS)


def compose(endpoint: Any, *, now: datetime | None = None) -> messages.Message:
    delivery = made.delivery(endpoint, data={"text": "ein Bär im Schnee"})
    return messages.compose(delivery=delivery, describe=lambda _, __: {}, now=now or datetime.now(UTC))


def is_accepted(verify: Verify, message: messages.Message, secret: str) -> bool:
    try:
        verify(message.body, message.headers, secret)
    except REFUSALS:
        return False
    return True


@every_verifier
def test_a_message_is_accepted_with_its_secret_and_with_no_other(verify: Verify) -> None:
    endpoint, other = made.endpoint(), made.endpoint()
    message = compose(endpoint)
    assert is_accepted(verify, message, endpoints.secret_text(endpoint))
    assert not is_accepted(verify, message, endpoints.secret_text(other))
    changed = message._replace(body=message.body.replace(b"Schnee", b"Regen"))
    assert not is_accepted(verify, changed, endpoints.secret_text(endpoint))


@every_verifier
def test_a_message_of_another_time_is_refused(verify: Verify) -> None:
    endpoint = made.endpoint()
    message = compose(endpoint, now=datetime.now(UTC) - timedelta(minutes=6))
    assert not is_accepted(verify, message, endpoints.secret_text(endpoint))


@every_verifier
def test_after_a_rotation_both_secrets_verify_until_the_end_of_the_overlap(verify: Verify) -> None:
    now = datetime.now(UTC)
    endpoint = made.endpoint()
    former = endpoints.secret_text(endpoint)
    rotated = endpoints.rotate(endpoint_id=endpoint.pk, overlap_seconds=60, now=now)
    present = endpoints.secret_text(rotated)
    message = compose(rotated, now=now)
    assert message.headers["webhook-signature"].count("v1,") == 2
    assert is_accepted(verify, message, former)
    assert is_accepted(verify, message, present)
    after = compose(rotated, now=now + timedelta(seconds=60))
    assert is_accepted(verify, after, present)
    assert not is_accepted(verify, after, former)


@every_verifier
def test_without_an_overlap_the_former_secret_signs_nothing_more(verify: Verify) -> None:
    endpoint = made.endpoint()
    former = endpoints.secret_text(endpoint)
    rotated = endpoints.rotate(endpoint_id=endpoint.pk, overlap_seconds=0)
    assert not is_accepted(verify, compose(rotated), former)
    assert is_accepted(verify, compose(rotated), endpoints.secret_text(rotated))


def test_a_secret_has_256_bits_in_the_form_of_the_standard() -> None:
    text = endpoints.secret_text(made.endpoint())
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", text)
    assert len(base64.b64decode(text.removeprefix("whsec_"))) == 32
    assert signing.text_of(base64.b64decode(text.removeprefix("whsec_"))) == text


def test_a_message_has_the_headers_that_are_promised() -> None:
    delivery = made.delivery(made.endpoint(factories.account()), attempt_count=3)
    now = datetime(2026, 1, 1, 12, 0, 1, 999_999, tzinfo=UTC)
    message = messages.compose(delivery=delivery, describe=lambda _, __: {}, now=now)
    assert message.url == made.URL
    assert message.headers["User-Agent"] == "Zekron-Webhooks/1"
    assert message.headers["X-Zekron-Attempt"] == "3"
    assert message.headers["webhook-timestamp"] == str(int(now.timestamp()))
    assert re.fullmatch("msg_[0-9a-f]{32}", message.headers["webhook-id"])
    assert message.body == b'{"type":"webhook.test","timestamp":"2026-01-01T12:00:00Z","data":{"a":1}}'
