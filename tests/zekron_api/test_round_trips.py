"""Trips of one generation to the database and to Redis. Their number grows unseen, and every request pays for it."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bench import redis_commands
from billing import keys
from tests import factories, processes
from workers.catalogue import catalogue
from workers.gpu_worker import attempt
from workers.messaging import redis_client
from workers.models import Generation
from zekron_api.endpoints import create_generation, generation_response

pytestmark = pytest.mark.django_db(transaction=True)
# What frames a transaction goes along with its first or last statement's trip or is counted with it.
FRAMES = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE SAVEPOINT")
WORKER = (
    "-m celery -A zekron_api worker -P threads -c 2 -Q gpu -n gpu@trips --without-gossip --without-mingle"
)


def _statements(queries: CaptureQueriesContext) -> list[str]:
    return [query["sql"] for query in queries if not query["sql"].startswith(FRAMES)]


def _fields() -> dict[str, Any]:
    return {"prompt": "a boat", "size": (512, 512), "model": catalogue()["zekron-image-1"], "images": []}


def test_a_create_takes_six_statements_at_the_front_and_four_in_the_worker() -> None:
    owner = factories.account()
    _, key = keys.issue(account_id=owner.pk)
    with factories.attempt_context(factories.StandInEngine()) as context:
        context.heartbeat.beat()
        with CaptureQueriesContext(connection) as asked:
            account = keys.authenticate(text=key)
            placed = create_generation.create(account_id=account.pk, fields=_fields(), idempotency_key=None)
        with CaptureQueriesContext(connection) as worked:
            attempt.run_next(context=context)
        with CaptureQueriesContext(connection) as answered:
            generation_response.build(generation_id=placed.generation.pk)
    front = _statements(asked) + _statements(answered)
    worker = _statements(worked)
    assert len(front) <= 6, "\n".join(front)
    assert len(worker) <= 4, "\n".join(worker)
    assert Generation.objects.get(pk=placed.generation.pk).status == "completed"


@pytest.mark.processes
def test_a_create_sends_redis_eight_commands(tmp_path: Path, objects_folder: Path) -> None:
    with processes.running(
        folder=tmp_path,
        objects_folder=objects_folder,
        others={"gpu": WORKER.split()},
        MODELS_FILE=str(processes.scripted_models(tmp_path)),
    ) as stack:
        server = processes.ready(stack.url)
        body = {"prompt": "a boat", "size": "512x512"}
        # The first one opens connections and declares the queue.
        assert server.ask("/v1/generate", body).status == 200
        with redis_commands.record_commands(redis_client.connection()) as sent:
            for _ in range(5):
                assert server.ask("/v1/generate", body).status == 200
    # The rate is counted and read; three reads say who works; sent, taken, announced. Celery's publish over a pooled
    # connection is one command, because the connection has declared its queue before.
    worked = redis_commands.select_work(sent, queue="gpu")
    assert len(worked) <= 5 * 8, "\n".join(worked)
    assert len([command for command in worked if command.startswith("PUBLISH zekron:")]) == 5
