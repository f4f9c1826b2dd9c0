"""Receivers on this machine, which only tests may call."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from tests.workers.webhooks import receivers
from tests.workers.webhooks.receivers import Receiver
from workers.webhooks import outbox


@pytest.fixture
def loopback(settings: Settings) -> None:
    """Let webhooks call this machine."""
    settings.WEBHOOK_ALLOW_LOOPBACK = True


@pytest.fixture
def receiver(loopback: None) -> Iterator[Receiver]:
    """Run a receiver that may be called."""
    with receivers.running() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def hints(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Return the hints, which go nowhere."""
    sent: list[None] = []
    monkeypatch.setattr(outbox, "wake", lambda: sent.append(None))
    return sent
