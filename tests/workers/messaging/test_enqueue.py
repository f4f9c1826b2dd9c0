"""A model's work goes to the workers of its queue, and to nobody else."""

import base64
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from celery import Celery, current_app
from pytest_django import DjangoAssertNumQueries, Settings

from tests import factories, processes
from workers.gpu_worker import attempt, poller
from workers.lifecycle import generations
from workers.messaging import enqueue, redis_client, worker_registry
from workers.messaging.worker_registry import Worker
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)
WORKER = "-m celery -A zekron_api worker -P threads -c 2 -n gpu@queues --without-gossip --without-mingle -Q"


@pytest.fixture(autouse=True)
def models_file(tmp_path: Path, settings: Settings) -> Path:
    """Beside the default model, which workers of `gpu` have, `big` of the queue `large`."""
    file = processes.scripted_models(tmp_path)
    own = file.read_text()
    big = own.replace("zekron-image-1", "big").replace("dtype =", 'queue = "large"\ndtype =')
    file.write_text(own + big)
    settings.MODELS_FILE = file
    redis_client.connection().flushdb()
    return file


def test_the_message_goes_to_the_queue_of_the_model() -> None:
    for model in ("zekron-image-1", "big", "big", "gone"):
        factories.submit(factories.account(), model=model)
    assert [redis_client.connection().llen(queue) for queue in ("gpu", "large", "chores")] == [2, 2, 0]


def test_the_message_of_a_generation_that_is_not_there_goes_to_the_usual_queue() -> None:
    enqueue.send(generation_id=10**9)
    assert redis_client.connection().llen("gpu") == 1


def test_with_one_queue_no_model_is_looked_up(
    models_file: Path, settings: Settings, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    settings.MODELS_FILE = processes.ROOT / "models.toml"
    with django_assert_num_queries(0):
        enqueue.send(generation_id=1)


def test_the_message_names_the_task_and_the_generation_and_asks_for_no_result() -> None:
    enqueue.send(generation_id=7)
    message = json.loads(redis_client.connection().lindex("gpu", 0))
    positional, keywords, _ = json.loads(base64.b64decode(message["body"]))
    assert (message["headers"]["task"], positional, keywords) == (
        "workers.tasks.generate",
        [],
        {"generation_id": 7},
    )
    assert message["headers"]["ignore_result"] is True


def test_threads_that_send_one_after_the_other_share_one_connection_to_the_broker(settings: Settings) -> None:
    # With one queue no thread looks up a model, and so none leaves a connection to the database behind.
    settings.MODELS_FILE = processes.ROOT / "models.toml"
    enqueue.send(generation_id=1)
    redis = redis_client.connection()
    before = redis.info("stats")["total_connections_received"]
    for generation_id in range(5):
        thread = threading.Thread(target=enqueue.send, kwargs={"generation_id": generation_id})
        thread.start()
        thread.join()
    assert redis.llen("gpu") == 6
    assert redis.info("stats")["total_connections_received"] == before


@pytest.fixture
def absent_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """Make a Celery application with the project's settings and a broker that is not there."""
    app = Celery("absent", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.broker_transport_options = current_app.conf.broker_transport_options
    monkeypatch.setattr(enqueue, "current_app", app)
    redis_client._circuit_breaker.cache_clear()
    yield app
    redis_client._circuit_breaker.cache_clear()
    app.close()


def test_a_broker_that_is_not_there_is_tried_once_and_then_left_alone(
    absent_broker: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    """Kombu's own retries would take six seconds."""
    started = time.monotonic()
    for _ in range(3):
        enqueue.send(generation_id=1)
    assert time.monotonic() - started < 2
    assert caplog.text.count("Redis is away") == 1


def test_a_publish_waits_for_a_free_connection_no_longer_than_the_timeout(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(redis_client, "TIMEOUT_SECONDS", 0.1)
    redis_client._circuit_breaker.cache_clear()
    pool = current_app.pool
    taken = [pool.acquire(block=True) for _ in range(pool.limit)]
    try:
        enqueue.send(generation_id=1)
    finally:
        for connection in taken:
            connection.release()
        redis_client._circuit_breaker.cache_clear()
    assert redis_client.connection().llen("gpu") == 0
    assert caplog.text.count("Redis is away") == 1


def test_of_all_whose_turn_it_is_a_worker_claims_the_first_that_it_can_make() -> None:
    owner = factories.account()
    first, second = factories.submit(owner, model="big"), factories.submit(owner)
    assert generations.claim_next(models={"zekron-image-1"}, now=factories.NOW) == second
    with pytest.raises(generations.NotClaimable):
        generations.claim_next(models={"zekron-image-1"}, now=factories.NOW + timedelta(minutes=1))
    assert generations.claim_next(models={"zekron-image-1", "big"}, now=factories.NOW) == first


def test_a_message_for_a_model_that_a_worker_has_not_costs_no_attempt() -> None:
    waiting = factories.submit(factories.account(), now=None, model="big")
    engine = factories.StandInEngine()
    with factories.attempt_context(engine) as context:
        attempt.run_next(context=context._replace(models={"zekron-image-1"}))
        waiting.refresh_from_db()
        assert (waiting.status, waiting.attempt_count, engine.orders) == (Status.QUEUED, 0, [])
        attempt.run_next(context=context._replace(models={"big"}))
    waiting.refresh_from_db()
    assert waiting.status == Status.COMPLETED


def test_idle_hands_leave_alone_what_their_worker_cannot_make(monkeypatch: pytest.MonkeyPatch) -> None:
    carried: list[int] = []
    monkeypatch.setattr(poller, "CLAIM_SECONDS", 0.02)
    # In threads of their own, whose connections would outlive the test.
    monkeypatch.setattr(attempt, "carry_out", lambda *, generation, context: carried.append(generation.pk))
    owner = factories.account()
    others, mine = factories.submit(owner, now=None, model="big"), factories.submit(owner, now=None)
    with factories.attempt_context(factories.StandInEngine()) as context:
        hands = poller.IdlePoller(context=context._replace(models={"zekron-image-1"}), capacity=2)
        hands.start()
        processes.wait_until(lambda: carried)
        hands.close()
    others.refresh_from_db()
    assert carried == [mine.pk]
    assert (others.status, others.attempt_count) == (Status.QUEUED, 0)


@contextmanager
def _worker(queues: str, objects_folder: Path, models_file: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with processes.started(
        [*WORKER.split(), queues],
        log=models_file.with_suffix(".log"),
        objects_folder=objects_folder,
        MODELS_FILE=str(models_file),
    ) as process:
        yield process


def _is_idle(worker: Worker) -> bool:
    """Return whether a worker has shown its speed, and that the attempts whose rows are completed are over."""
    assert worker.details is not None
    return bool(worker.seconds_of("big")) and worker.details.attempt_count == 0


@pytest.mark.processes
def test_a_worker_has_the_models_of_its_queues_alone_and_says_so(
    objects_folder: Path, models_file: Path
) -> None:
    owner = factories.account()
    others = factories.submit(owner, now=None)
    mine = [factories.submit(owner, now=None, model="big") for _ in range(3)]
    with _worker("large,chores", objects_folder, models_file):
        for generation in mine:
            completed = Generation.objects.filter(pk=generation.pk, status=Status.COMPLETED)
            processes.wait_until(completed.exists)
        processes.wait_until(lambda: any(map(_is_idle, worker_registry.list_alive())))
        [worker] = worker_registry.list_alive()
    others.refresh_from_db()
    assert (others.status, others.attempt_count) == (Status.QUEUED, 0)
    assert (worker.name, set(worker.details.models)) == ("gpu@queues", {"big"})
    assert (worker.details.queues, worker.details.device) == (["large"], "auto")
    assert worker.details.claimed_at is not None
    assert worker.details.attempt_count == 0
    assert len(worker.details.code) == 8


@pytest.mark.processes
def test_a_worker_of_a_queue_that_no_model_has_does_not_start(
    objects_folder: Path, models_file: Path
) -> None:
    with _worker("gpu,lagre", objects_folder, models_file) as process:
        assert process.wait(timeout=processes.MAX_START_SECONDS) != 0
    last = models_file.with_suffix(".log").read_text().strip().splitlines()[-1]
    assert last == f"zekron: {models_file}: no model has the queue 'lagre'"
