"""A scripted server, and entries of models that it runs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.workers.conftest import entry
from tests.workers.remote import scripted_server
from tests.workers.remote.calls import make_engine
from tests.workers.remote.scripted_server import ScriptedServer
from workers.catalogue import ImageModel
from workers.remote import engine as remote_engine
from workers.remote import requests
from workers.remote.engine import RemoteEngine


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """Run a scripted server."""
    with scripted_server.running() as running:
        yield running


@pytest.fixture
def describe(server: ScriptedServer) -> Callable[..., ImageModel]:
    """Return a function that makes the entry of a model which the server runs."""

    def make(**options: Any) -> ImageModel:
        model = entry(Path("unused"), adapter="remote", options={"base_url": server.url, **options})
        return replace(model, weights="owner/far@main")

    return make


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let busy servers be asked again, and cancelled orders be seen, without a pause."""
    monkeypatch.setattr(requests, "MIN_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(remote_engine, "LOOK_SECONDS", 0.02)


@pytest.fixture
def engine(server: ScriptedServer, describe: Callable[..., ImageModel]) -> RemoteEngine:
    """Return the engine of the scripted server."""
    return make_engine(server, describe())
