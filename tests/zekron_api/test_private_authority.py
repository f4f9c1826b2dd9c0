"""Servers whose certificates are of a private authority: the whole path over TLS, and names that are not theirs."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dj_database_url
import pytest
from django.db import OperationalError, connection, connections

from storage.postgresql import base
from storage.postgresql.availability import Availability
from tests import debian_redis, processes, tls
from zekron_api.config import database_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
WORKER = "-m celery -A zekron_api worker -P threads -c 2 -Q gpu -n gpu@tls --without-gossip --without-mingle"


@contextmanager
def _postgresql(folder: Path, *, host: str) -> Iterator[tuple[int, Path, Path]]:
    """Serve the test's PostgreSQL with TLS as this host. Yield its port, its authority and its certificate."""
    authority, own = tls.issue(folder, host=host)
    itself = partial(processes.connect_to_database, dict(connection.settings_dict))
    with tls.ended_before(itself, certificate=own, start=tls.start_as_postgresql) as port:
        yield port, authority, own


def _url(port: int, authority: Path) -> str:
    return (
        f"{processes.database_url(host='localhost', port=port)}?sslmode=verify-full&sslrootcert={authority}"
    )


def _connect(url: str) -> None:
    """Connect as a process with this DATABASE_URL does, and expect TLS."""
    entry = {**connection.settings_dict, **database_url.entry(dj_database_url.parse(url), direct=None)}
    over: Any = type(connections["default"])(entry, "default")
    over.ensure_connection()
    assert over.connection.pgconn.ssl_in_use
    over.close()


def test_an_image_is_made_over_tls_alone(tmp_path: Path, objects_folder: Path) -> None:
    with (
        _postgresql(tmp_path, host="localhost") as (port, authority, own),
        debian_redis.running(folder=tmp_path, authority=authority, certificate=own) as redis_url,
        processes.running(
            folder=tmp_path,
            objects_folder=objects_folder,
            others={"gpu": WORKER.split()},
            MODELS_FILE=str(processes.scripted_models(tmp_path)),
            DATABASE_URL=_url(port, authority),
            REDIS_URL=redis_url,
        ) as stack,
    ):
        made = processes.ready(stack.url).ask("/v1/generate", {"prompt": "a boat", "size": "512x512"})
        assert made.status == 200
    assert "Connected to rediss://" in stack.logs()
    assert "away" not in stack.logs()


def test_postgresql_is_taken_by_the_name_in_its_certificate_and_a_known_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "availability", Availability(clock=itertools.count(step=100).__next__))
    with _postgresql(tmp_path, host="localhost") as (port, authority, _):
        _connect(_url(port, authority))
        other_authority, _ = tls.issue(tmp_path, host="other.example")
        with pytest.raises(OperationalError, match="SSL error"):
            _connect(_url(port, other_authority))
    with (
        _postgresql(tmp_path, host="other.example") as (port, authority, _),
        pytest.raises(OperationalError, match=r"other.example.+does not match host name.+localhost"),
    ):
        _connect(_url(port, authority))
