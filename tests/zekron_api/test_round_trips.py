"""Trips of one generation to the database and to Redis. Their number grows unseen, and every request pays for it."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bench import redis_commands
from billing import keys
from tests import factories, processes
from workers.gpu_worker import attempt
from workers.messaging import redis_client
from workers.models import Generation
from zekron_api.endpoints import create_generation, generation_response
from zekron_api.endpoints.serializers import GenerateSerializer

pytestmark = pytest.mark.django_db(transaction=True)
WORKER = (
    "-m celery -A zekron_api worker -P threads -c 2 -Q gpu -n gpu@trips --without-gossip --without-mingle"
)


def _without_empty_transactions(queries: list[str]) -> list[str]:
    """Return the queries that are sent. A check begins and ends a transaction, for which psycopg sends nothing."""
    following = [*queries[1:], ""]
    empty = {i for i, pair in enumerate(zip(queries, following, strict=True)) if pair == ("BEGIN", "COMMIT")}
    return [query for i, query in enumerate(queries) if i not in empty and i - 1 not in empty]


def _fields() -> dict[str, Any]:
    body = GenerateSerializer(data={"prompt": "a boat", "size": "512x512"})
    body.is_valid(raise_exception=True)
    return body.validated_data


def test_a_create_takes_seven_round_trips_to_the_database() -> None:
    owner = factories.account()
    _, key = keys.issue(account_id=owner.pk)
    # Its use is noted once in 50 seconds, which is one trip more.
    keys.authenticate(text=key)
    with factories.attempt_context(factories.StandInEngine()) as context:
        context.heartbeat.beat()
        with CaptureQueriesContext(connection) as asked:
            account = keys.authenticate(text=key).account
            placed = create_generation.create(account=account, fields=_fields(), idempotency_key=None)
        with CaptureQueriesContext(connection) as worked:
            attempt.run_next(context=context)
        with CaptureQueriesContext(connection) as answered:
            generation_response.build(generation_id=placed.generation.pk)
    # The key is read, the queue counted, the request accepted, claimed and completed. For the reply the row is read,
    # and then the key of its image.
    trips = _without_empty_transactions(
        [query["sql"] for part in (asked, worked, answered) for query in part]
    )
    assert len(trips) == 7, "\n".join(trips)
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
