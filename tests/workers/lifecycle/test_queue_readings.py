"""The queue and the workers are read once a second in a process, and a burst within the second counts itself."""

import threading
from collections.abc import Callable

import pytest

from tests import factories
from workers.lifecycle import admission, queries
from workers.lifecycle.queue_readings import FRESH_SECONDS, QueueReadings, SharedReading
from workers.messaging import worker_registry
from workers.messaging.redis_client import RedisUnavailable
from workers.messaging.worker_registry import Details, Worker


class Clock:
    """A clock that a test sets, in seconds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock at zero."""
    return Clock()


@pytest.fixture
def readings(clock: Clock) -> QueueReadings:
    """Return readings without a last value."""
    return QueueReadings(clock=clock)


def test_a_value_is_read_once_a_second(clock: Clock) -> None:
    shared: SharedReading[float] = SharedReading(clock=clock)
    read: list[float] = []
    for clock.now in (0.0, 0.1, 0.9, 1.0, 1.9, 2.0):
        read.append(shared.get(clock))
    assert read == [0.0, 0.0, 0.0, 1.0, 1.0, 2.0]
    assert FRESH_SECONDS == 1.0


def _hanging(value: str) -> tuple[Callable[[], str], threading.Event, threading.Event]:
    """Return a reading that takes until the second event, and sets the first when it begins."""
    begun, may_end = threading.Event(), threading.Event()

    def read() -> str:
        begun.set()
        assert may_end.wait(60)
        return value

    return read, begun, may_end


def test_while_one_thread_reads_the_others_take_the_last_value(clock: Clock) -> None:
    shared: SharedReading[str] = SharedReading(clock=clock)
    assert shared.get(lambda: "first") == "first"
    clock.now = 60.0
    slow, begun, may_end = _hanging("second")
    thread = threading.Thread(target=shared.get, args=(slow,))
    thread.start()
    assert begun.wait(60)
    answers = factories.at_once(20, lambda _: shared.get(lambda: "one of a herd"))
    may_end.set()
    thread.join()
    assert set(answers) == {"first"}
    assert shared.get(lambda: "too early") == "second"


def test_a_reading_that_fails_leaves_the_next_one_to_another(clock: Clock) -> None:
    shared: SharedReading[str] = SharedReading(clock=clock)
    shared.get(lambda: "first")
    clock.now = 1.0
    with pytest.raises(ZeroDivisionError):
        shared.get(lambda: str(1 / 0))
    assert shared.get(lambda: "second") == "second"


def test_a_worker_with_the_model_is_seen_at_once_and_read_once_a_second(
    readings: QueueReadings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[Worker] = []
    asked: list[float] = []

    def list_alive() -> list[Worker]:
        asked.append(clock.now)
        return list(alive)

    monkeypatch.setattr(worker_registry, "list_alive", list_alive)
    assert readings.list_able("a") == []
    for model in "ba":
        alive.append(Worker(model, details=Details(models={model: 1.0})))
        assert [worker.name for worker in readings.list_able(model)] == [model]
        assert [worker.name for worker in readings.list_able(model)] == [model]
    assert len(asked) == 3
    alive.clear()
    assert [worker.name for worker in readings.list_able("a")] == ["a"]
    clock.now = 1.0
    assert readings.list_able("a") == []


def test_the_queue_is_counted_once_a_second_and_what_is_let_in_meanwhile_counts_too(
    readings: QueueReadings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_now = {"a": 3, "b": 7}
    asked: list[str] = []

    def count_open(*, most: int, model: str) -> int:
        asked.append(model)
        if model == "a" and clock.now == 2.0:
            # Another thread lets one in while this one counts.
            readings.note_admission("a")
        return min(most, open_now[model])

    monkeypatch.setattr(queries, "count_open", count_open)
    assert readings.count_open("a", most=100) == 3
    for expected in (4, 5):
        readings.note_admission("a")
        assert readings.count_open("a", most=100) == expected
    assert readings.count_open("a", most=4) == 4
    assert readings.count_open("b", most=100) == 7
    assert asked == ["a", "b"]
    open_now["a"] = 5
    clock.now = 1.0
    assert readings.count_open("a", most=100) == 5
    clock.now = 2.0
    assert readings.count_open("a", most=100) == 6
    assert asked == ["a", "b", "a", "a"]


# Of 100 requests in a row, so many are let in. 20 images take the limit of 40 seconds, and the last image of a request
# must start within it. An empty queue takes a request that alone needs longer.
@pytest.mark.parametrize(
    ("open_count", "image_count", "admitted_count"),
    [(5, 1, 16), (5, 3, 5), (0, 3, 7), (0, 22, 1), (1, 22, 0)],
)
def test_a_burst_within_a_second_is_let_in_up_to_the_limit(
    readings: QueueReadings,
    monkeypatch: pytest.MonkeyPatch,
    open_count: int,
    image_count: int,
    admitted_count: int,
) -> None:
    monkeypatch.setattr(admission, "_readings", readings)
    monkeypatch.setattr(worker_registry, "list_alive", lambda: [Worker("gpu@a", 2.0)])
    monkeypatch.setattr(queries, "count_open", lambda *, most, model: min(most, open_count))

    def is_let_in(_: int) -> bool:
        try:
            admission.refuse_if_too_long(
                model_name="zekron-image-1", limit_seconds=40, image_count=image_count
            )
        except admission.QueueTooLong:
            return False
        return True

    assert [is_let_in(number) for number in range(100)].count(True) == admitted_count


def test_what_was_made_since_the_last_count_refuses_nobody(
    readings: QueueReadings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[float] = []

    def count_open(*, most: int, model: str | None) -> int:
        counted.append(clock.now)
        return 0

    monkeypatch.setattr(admission, "_readings", readings)
    monkeypatch.setattr(worker_registry, "list_alive", lambda: [Worker("gpu@a", None)])
    monkeypatch.setattr(queries, "count_open", count_open)
    # Each image is made before the next one is asked for, and nothing is known of the worker's speed yet.
    for number in range(40):
        clock.now = number * 0.02
        admission.refuse_if_too_long(model_name="zekron-image-1", limit_seconds=55)
    # A burst that nobody has made is counted again at most ten times a second.
    assert len(counted) <= 8


def test_without_redis_requests_are_let_in_and_count_nowhere(
    readings: QueueReadings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> list[Worker]:
        raise RedisUnavailable

    monkeypatch.setattr(admission, "_readings", readings)
    monkeypatch.setattr(worker_registry, "list_alive", away)
    for _ in range(3):
        admission.refuse_if_too_long(model_name="zekron-image-1", limit_seconds=1)
