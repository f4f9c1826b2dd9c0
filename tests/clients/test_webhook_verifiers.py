"""The npm packages that verify webhooks, unchanged: they accept what the service signs, and nothing else."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.clients import calls
from tests.clients.calls import Program
from tests.workers.webhooks import made
from workers.webhooks import endpoints, messages

pytestmark = [pytest.mark.django_db, pytest.mark.processes, pytest.mark.clients]


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    with calls.in_node("webhooks.mjs", packages=["standardwebhooks", "svix"]) as running:
        yield running


@pytest.mark.parametrize("name", ["standardwebhooks", "svix"])
def test_a_message_is_accepted_with_its_secrets_and_with_no_other(program: Program, name: str) -> None:
    endpoint, other = made.endpoint(), made.endpoint()
    former = endpoints.secret_text(endpoint)
    endpoints.rotate(endpoint_id=endpoint.pk, overlap_seconds=60)
    endpoint.refresh_from_db()
    delivery = made.delivery(endpoint, data={"text": "ein Bär im Schnee"})
    message = messages.compose(delivery=delivery, describe=lambda _, __: {}, now=datetime.now(UTC))
    sent = {"name": name, "body": message.body.decode(), "headers": dict(message.headers)}
    for secret in (former, endpoints.secret_text(endpoint)):
        assert program.call("verify", **sent, secret=secret) == {"accepted": True}
    error = program.error_of("verify", **sent, secret=endpoints.secret_text(other))
    assert error["class"] == "WebhookVerificationError"
    changed = {**sent, "body": message.body.decode().replace("Schnee", "Regen")}
    assert program.error_of("verify", **changed, secret=former)["class"] == "WebhookVerificationError"
