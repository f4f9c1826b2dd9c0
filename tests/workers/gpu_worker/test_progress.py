"""The steps of running generations: published a few times a second, and never by the thread that drives the device."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from django.utils import timezone
from PIL import Image

from tests import factories
from tests.processes import wait_until
from workers.engine.interface import ImageOrder, StepCallback
from workers.gpu_worker import attempt
from workers.gpu_worker.progress import ProgressReporter
from workers.messaging import counters, progress_events, redis_client
from workers.messaging.progress_events import NewPartial, Step
from workers.models import Status

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def reporter(interval_seconds: float) -> Iterator[ProgressReporter]:
    """Run a reporter; it ends with the block."""
    made = ProgressReporter(interval_seconds=interval_seconds)
    made.start()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[dict[int, Step]]:
    """Collect messages in place of publishing them."""
    messages: list[dict[int, Step]] = []
    monkeypatch.setattr(progress_events, "publish", lambda *, steps: messages.append(dict(steps)))
    return messages


def test_one_message_has_the_latest_step_of_every_generation(published: list[dict[int, Step]]) -> None:
    with reporter(0.3) as progress, progress.follow(7) as seven, progress.follow(8) as eight:
        for done in range(1, 4):
            seven(done, 4)
            eight(done, 6)
        wait_until(lambda: published)
        assert published[-1] == {7: (3, 4), 8: (3, 6)}
        seven(4, 4)
        wait_until(lambda: published[-1] == {7: (4, 4)})
    assert len(published) <= 3


def test_a_generation_that_has_ended_is_published_no_more(published: list[dict[int, Step]]) -> None:
    with reporter(0.2) as progress, progress.follow(8) as eight:
        with progress.follow(7) as seven:
            seven(4, 4)
        eight(1, 4)
        wait_until(lambda: published)
    assert published == [{8: (1, 4)}]


def test_the_thread_of_the_device_does_not_wait_for_a_redis_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def publish(*, steps: dict[int, Step]) -> None:
        hangs.set()
        assert goes_on.wait(60)

    monkeypatch.setattr(progress_events, "publish", publish)
    with reporter(0.0) as progress, progress.follow(7) as note:
        note(1, 4)
        assert hangs.wait(60)
        # It would never return if it waited for the message.
        note(2, 4)
        goes_on.set()


def test_an_error_that_nobody_expected_does_not_end_the_reporter(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[Exception] = [LookupError("unexpected")]
    done: list[dict[int, Step]] = []

    def publish(*, steps: dict[int, Step]) -> None:
        if failures:
            raise failures.pop()
        done.append(steps)

    monkeypatch.setattr(progress_events, "publish", publish)
    before = counters.read_background_error_counts().get("progress", 0)
    with reporter(0.0) as progress, progress.follow(7) as note:
        note(1, 4)
        wait_until(lambda: not failures)
        note(2, 4)
        wait_until(lambda: done)
    assert done[-1] == {7: (2, 4)}
    assert counters.read_background_error_counts()["progress"] == before + 1


class Gated(factories.StandInEngine):
    """An engine that makes two of four steps, waits until it may go on, and finishes."""

    def __init__(self, may_go_on: Callable[[], object]) -> None:
        super().__init__()
        self._may_go_on = may_go_on

    def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
        on_step(1, 4)
        on_step(2, 4)
        self._may_go_on()
        on_step(4, 4)
        return [Image.new("RGB", (order.width, order.height), "teal") for order in orders]


def test_the_steps_of_an_attempt_are_published_while_its_engine_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.messaging.enqueue.send", lambda *, generation_id: None)
    generation = factories.submit(factories.account(), now=timezone.now())
    broker: Any = redis_client.connection()
    heard: list[dict[int, Step | NewPartial]] = []

    with broker.pubsub(ignore_subscribe_messages=True) as listener, reporter(0.01) as progress:
        listener.subscribe(progress_events.channel())

        def hear() -> bool:
            message = listener.get_message(timeout=0.1)
            if message is not None:
                heard.append(progress_events.parse(message["data"]))
            return bool(heard)

        with factories.attempt_context(Gated(lambda: wait_until(hear))) as context:
            attempt.run_next(context=context._replace(follow_steps=progress.follow))
    generation.refresh_from_db()
    assert generation.status == Status.COMPLETED
    assert heard[0] == {generation.pk: (2, 4)}
    assert progress_events.read(generation_id=generation.pk) in {(2, 4), (4, 4)}
