import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.engines import UnstagedEngine
from workers.engine.batcher import FIRST_HANG_SECONDS, MIN_HANG_SECONDS, Batcher, BatcherClosed
from workers.engine.interface import (
    BadOutput,
    DeviceLost,
    ImageOrder,
    OrderDropped,
    OrderRefused,
    OutOfDeviceMemory,
    Picture,
    SomeOrdersFailed,
    StepCallback,
)
from workers.engine.stage_executor import Batch

# Far longer than any test takes: whatever ends sooner did not wait for it.
LONG_SECONDS = 60.0
SOURCE = Image.new("RGB", (64, 64))


class FakeEngine(UnstagedEngine):
    """Notes its batches, and can be held before each by a gate that the test opens."""

    batch_limit = 4

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()
        self.prepared = threading.Semaphore(0)
        self.started = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.poison: Callable[[Sequence[ImageOrder]], bool] = lambda _orders: False
        self.missing = 0

    def prepare(self, orders: Sequence[ImageOrder]) -> Sequence[ImageOrder]:
        self.prepared.release()
        return orders

    def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
        self.batches.append([order.prompt for order in orders])
        self.threads.add(threading.current_thread().name)
        self.started.release()
        assert self.gate.wait(LONG_SECONDS)
        on_step(1, 2)
        if self.poison(orders):
            raise RuntimeError("out of memory")
        on_step(2, 2)
        images = [Image.new("RGB", (order.width, order.height), (order.seed, 0, 0)) for order in orders]
        return images[: len(images) - self.missing]

    def wait_until_prepared(self) -> None:
        assert self.prepared.acquire(timeout=LONG_SECONDS)

    def wait_until_started(self) -> None:
        assert self.started.acquire(timeout=LONG_SECONDS)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def batcher(engine: FakeEngine) -> Iterator[Batcher]:
    batcher = Batcher(engine, max_queue_delay_seconds=0)
    yield batcher
    engine.gate.set()
    batcher.close()


def order(prompt: str, *, width: int = 8, height: int = 8, seed: int = 0, edit: bool = False) -> ImageOrder:
    sources = (SOURCE,) if edit else ()
    return ImageOrder(prompt=prompt, width=width, height=height, seed=seed, sources=sources)


def finish(futures: Sequence[Future[Picture]]) -> None:
    """Wait until all pictures are made."""
    for future in futures:
        future.result(LONG_SECONDS)


def hold(batcher: Batcher, engine: FakeEngine) -> list[Future[Picture]]:
    """Hold the engine with one order, and have it prepare another, so that all that is submitted next must wait."""
    engine.gate.clear()
    held = [batcher.submit(order("held"))]
    engine.wait_until_prepared()
    engine.wait_until_started()
    held.append(batcher.submit(order("ahead", width=24)))
    engine.wait_until_prepared()
    return held


def submit_behind_a_closed_gate(
    batcher: Batcher, engine: FakeEngine, orders: Sequence[ImageOrder]
) -> list[Future[Picture]]:
    """Return the pictures of orders that were all there when the engine could take the next batch."""
    held = hold(batcher, engine)
    futures = [batcher.submit(each) for each in orders]
    engine.gate.set()
    for future in held:
        future.result(LONG_SECONDS)
    return futures


def red_of(future: Future[Picture]) -> int:
    return int(future.result(LONG_SECONDS)[0, 0, 0])


def test_an_order_becomes_its_picture(batcher: Batcher, engine: FakeEngine) -> None:
    picture = batcher.submit(order("a fox", width=16, seed=7)).result(LONG_SECONDS)
    assert picture.shape == (8, 16, 3)
    assert tuple(picture[0, 0]) == (7, 0, 0)
    assert engine.threads == {"gpu"}


def test_creates_of_one_size_go_together_and_each_gets_its_own(batcher: Batcher, engine: FakeEngine) -> None:
    orders = [order(f"p{seed}", seed=seed) for seed in range(1, 4)]
    futures = submit_behind_a_closed_gate(batcher, engine, orders)
    assert [red_of(future) for future in futures] == [1, 2, 3]
    assert engine.batches[2:] == [["p1", "p2", "p3"]]


def test_a_batch_is_no_larger_than_the_engines_limit(batcher: Batcher, engine: FakeEngine) -> None:
    futures = submit_behind_a_closed_gate(batcher, engine, [order(f"p{n}") for n in range(6)])
    for future in futures:
        future.result(LONG_SECONDS)
    assert engine.batches[2:] == [["p0", "p1", "p2", "p3"], ["p4", "p5"]]


def test_another_size_waits_for_its_turn(batcher: Batcher, engine: FakeEngine) -> None:
    orders = [order("a1"), order("b1", width=16), order("a2"), order("c1", height=16), order("b2", width=16)]
    futures = submit_behind_a_closed_gate(batcher, engine, orders)
    for future in futures:
        future.result(LONG_SECONDS)
    assert engine.batches[2:] == [["a1", "a2"], ["b1", "b2"], ["c1"]]


def test_an_edit_goes_alone(batcher: Batcher, engine: FakeEngine) -> None:
    orders = [order("a"), order("edit 1", edit=True), order("edit 2", edit=True), order("b")]
    futures = submit_behind_a_closed_gate(batcher, engine, orders)
    for future in futures:
        future.result(LONG_SECONDS)
    assert engine.batches[2:] == [["a", "b"], ["edit 1"], ["edit 2"]]


def test_a_full_batch_does_not_linger() -> None:
    engine = FakeEngine()
    batcher = Batcher(engine, max_queue_delay_seconds=LONG_SECONDS)
    futures = [batcher.submit(order(f"p{n}")) for n in range(4)]
    for future in futures:
        future.result(LONG_SECONDS / 10)
    assert engine.batches == [["p0", "p1", "p2", "p3"]]
    batcher.close()


def test_an_edit_does_not_linger() -> None:
    engine = FakeEngine()
    batcher = Batcher(engine, max_queue_delay_seconds=LONG_SECONDS)
    batcher.submit(order("edit", edit=True)).result(LONG_SECONDS / 10)
    batcher.close()


def test_a_lone_order_is_made_when_the_linger_is_over() -> None:
    engine = FakeEngine()
    batcher = Batcher(engine, max_queue_delay_seconds=0.01)
    batcher.submit(order("alone")).result(LONG_SECONDS)
    batcher.close()


def test_company_that_comes_within_the_linger_goes_along() -> None:
    engine = FakeEngine()
    engine.batch_limit = 2
    batcher = Batcher(engine, max_queue_delay_seconds=LONG_SECONDS)
    first = batcher.submit(order("p0"))
    assert not first.done()
    batcher.submit(order("p1")).result(LONG_SECONDS / 10)
    assert engine.batches == [["p0", "p1"]]
    batcher.close()


def test_a_lone_order_does_not_linger_where_no_other_is_on_its_way() -> None:
    batcher = Batcher(FakeEngine(), max_queue_delay_seconds=LONG_SECONDS, more_may_come=lambda: False)
    batcher.submit(order("alone")).result(LONG_SECONDS / 10)
    batcher.close()


def test_one_that_is_on_its_way_is_waited_for_and_no_longer() -> None:
    engine, on_its_way, asked = FakeEngine(), {"p1"}, threading.Event()

    def more_may_come() -> bool:
        answer = bool(on_its_way)
        asked.set()
        return answer

    batcher = Batcher(engine, max_queue_delay_seconds=LONG_SECONDS, more_may_come=more_may_come)
    batcher.submit(order("p0"))
    assert asked.wait(LONG_SECONDS)
    on_its_way.clear()
    batcher.submit(order("p1")).result(LONG_SECONDS / 10)
    assert engine.batches == [["p0", "p1"]]
    batcher.close()


def test_a_failure_belongs_to_its_order_alone(batcher: Batcher, engine: FakeEngine) -> None:
    engine.poison = lambda orders: True
    failed = batcher.submit(order("bad"))
    with pytest.raises(RuntimeError, match="out of memory"):
        failed.result(LONG_SECONDS)
    engine.poison = lambda orders: False
    assert batcher.submit(order("good")).result(LONG_SECONDS).shape == (8, 8, 3)


def test_one_poisoned_order_does_not_fail_its_neighbours(batcher: Batcher, engine: FakeEngine) -> None:
    engine.poison = lambda orders: any(each.prompt == "bad" for each in orders)
    good, bad, other = submit_behind_a_closed_gate(
        batcher, engine, [order("good", seed=1), order("bad"), order("other", seed=3)]
    )
    assert (red_of(good), red_of(other)) == (1, 3)
    with pytest.raises(RuntimeError, match="out of memory"):
        bad.result(LONG_SECONDS)
    assert engine.batches[2:] == [["good", "bad", "other"], ["good"], ["bad"], ["other"]]


def test_of_orders_that_fail_apart_each_gets_its_own_outcome_and_none_is_made_twice(
    batcher: Batcher, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(images: Sequence[Image.Image]) -> list[Picture]:
        pictures = [np.asarray(image) for image in images]
        if len(pictures) > 1:
            raise SomeOrdersFailed([OrderRefused("no"), *pictures[1:]])
        return pictures

    monkeypatch.setattr(engine, "decode", decode)
    bad, good = submit_behind_a_closed_gate(batcher, engine, [order("bad"), order("good", seed=7)])
    with pytest.raises(OrderRefused):
        bad.result(LONG_SECONDS)
    assert red_of(good) == 7
    assert engine.batches == [["held"], ["ahead"], ["bad", "good"]]


def test_a_lone_failure_is_not_tried_again(batcher: Batcher, engine: FakeEngine) -> None:
    engine.poison = lambda orders: True
    with pytest.raises(RuntimeError):
        batcher.submit(order("bad")).result(LONG_SECONDS)
    assert engine.batches == [["bad"]]


def test_an_engine_that_loses_a_picture_fails_the_order(batcher: Batcher, engine: FakeEngine) -> None:
    engine.missing = 1
    with pytest.raises(BadOutput, match="0 images of 1 orders"):
        batcher.submit(order("a")).result(LONG_SECONDS)
    engine.missing = 0
    assert batcher.submit(order("b")).result(LONG_SECONDS).shape == (8, 8, 3)


def test_of_a_batch_only_the_unwanted_picture_is_dropped(batcher: Batcher, engine: FakeEngine) -> None:
    gone = threading.Event()
    held = hold(batcher, engine)
    first = batcher.submit(order("wanted", seed=1))
    second = batcher.submit(replace(order("unwanted", seed=2), is_unwanted=gone.is_set))

    def leave(orders: Sequence[ImageOrder]) -> bool:
        if len(orders) == 2:
            gone.set()
        return False

    engine.poison = leave
    engine.gate.set()
    finish(held)
    assert red_of(first) == 1
    # The steps of both are the same steps, so its picture is there too, and its attempt drops it.
    assert red_of(second) == 2


def test_a_batch_stops_early_when_nobody_wants_its_pictures(batcher: Batcher, engine: FakeEngine) -> None:
    gone = threading.Event()
    engine.gate.clear()
    futures = [batcher.submit(replace(order("unwanted"), is_unwanted=gone.is_set))]
    engine.wait_until_started()
    gone.set()
    engine.gate.set()
    with pytest.raises(OrderDropped):
        futures[0].result(LONG_SECONDS)
    assert red_of(batcher.submit(order("next", seed=3))) == 3
    assert engine.batches == [["unwanted"], ["next"]]


def test_an_unwanted_order_is_not_begun(batcher: Batcher, engine: FakeEngine) -> None:
    unwanted = replace(order("unwanted"), is_unwanted=lambda: True)
    dropped, made = submit_behind_a_closed_gate(batcher, engine, [unwanted, order("wanted", seed=4)])
    with pytest.raises(OrderDropped):
        dropped.result(LONG_SECONDS)
    assert red_of(made) == 4
    assert engine.batches[2:] == [["wanted"]]


def test_every_order_of_a_batch_hears_its_steps(batcher: Batcher, engine: FakeEngine) -> None:
    held = hold(batcher, engine)
    heard: dict[str, list[tuple[int, int]]] = {"a": [], "b": []}

    def listener(name: str) -> StepCallback:
        return lambda done, steps: heard[name].append((done, steps))

    futures = [*held, *(batcher.submit(order(name), on_step=listener(name)) for name in heard)]
    engine.gate.set()
    for future in futures:
        future.result(LONG_SECONDS)
    assert heard == {"a": [(1, 2), (2, 2)], "b": [(1, 2), (2, 2)]}


def test_a_listener_that_fails_costs_no_picture(batcher: Batcher, engine: FakeEngine) -> None:
    def broken(_done: int, _steps: int) -> None:
        raise ConnectionError

    assert batcher.submit(order("a"), on_step=broken).result(LONG_SECONDS).shape == (8, 8, 3)
    assert engine.batches == [["a"]]


def test_a_cancelled_order_is_not_made(batcher: Batcher, engine: FakeEngine) -> None:
    hold(batcher, engine)
    cancelled, kept = batcher.submit(order("cancelled")), batcher.submit(order("kept"))
    assert cancelled.cancel()
    engine.gate.set()
    assert red_of(kept) == 0
    with pytest.raises(CancelledError):
        cancelled.result(LONG_SECONDS)
    assert engine.batches[2:] == [["kept"]]


def test_closing_finishes_what_is_queued_and_ends_the_thread(batcher: Batcher, engine: FakeEngine) -> None:
    futures = hold(batcher, engine)
    futures += [batcher.submit(order(f"p{n}")) for n in range(5)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    engine.gate.set()
    closing.join(LONG_SECONDS)
    assert all(future.done() and future.exception() is None for future in futures)
    assert not any(thread.name == "gpu" for thread in threading.enumerate())


def test_closing_does_not_wait_for_company() -> None:
    engine = FakeEngine()
    batcher = Batcher(engine, max_queue_delay_seconds=LONG_SECONDS)
    future = batcher.submit(order("alone"))
    closing = threading.Thread(target=batcher.close, daemon=True)
    closing.start()
    closing.join(LONG_SECONDS / 10)
    assert not closing.is_alive()
    assert future.done()


def test_an_order_after_closing_is_refused(batcher: Batcher) -> None:
    batcher.close()
    batcher.close()
    with pytest.raises(BatcherClosed):
        batcher.submit(order("late"))


def test_orders_of_many_threads_all_come_back_right(batcher: Batcher) -> None:
    wrong: list[int] = []

    def client(number: int) -> None:
        for seed in range(number, 200, 8):
            picture = batcher.submit(order("p", width=8 * (1 + seed % 3), seed=seed)).result(LONG_SECONDS)
            if tuple(picture[0, 0]) != (seed, 0, 0):
                wrong.append(seed)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_draining_finishes_what_is_on_the_device_and_refuses_the_rest(
    batcher: Batcher, engine: FakeEngine
) -> None:
    held, ahead = hold(batcher, engine)
    behind = batcher.submit(order("behind"))
    batcher.drain()
    batcher.drain()
    with pytest.raises(BatcherClosed):
        behind.result(LONG_SECONDS)
    with pytest.raises(BatcherClosed):
        batcher.submit(order("late"))
    engine.gate.set()
    assert held.result(LONG_SECONDS).shape == (8, 8, 3)
    with pytest.raises(BatcherClosed):
        ahead.result(LONG_SECONDS)
    batcher.close()
    assert engine.batches == [["held"]]


def test_a_lost_device_fails_its_batch_and_puts_off_the_rest_and_is_told_once(engine: FakeEngine) -> None:
    told = threading.Semaphore(0)
    batcher = Batcher(engine, max_queue_delay_seconds=0, on_device_lost=told.release)
    held = hold(batcher, engine)
    # Made one by one after the first failure, so that the second meets the lost device.
    batch = [batcher.submit(order(prompt)) for prompt in ("fine", "fatal", "after")]

    def lose(orders: Sequence[ImageOrder]) -> bool:
        if [each.prompt for each in orders] == ["fatal"]:
            raise DeviceLost
        return len(orders) > 1

    engine.poison = lose
    engine.gate.set()
    assert [red_of(future) for future in held] == [0, 0]
    assert told.acquire(timeout=LONG_SECONDS)
    assert red_of(batch[0]) == 0
    assert isinstance(batch[1].exception(LONG_SECONDS), DeviceLost)
    assert isinstance(batch[2].exception(LONG_SECONDS), BatcherClosed)
    batcher.close()
    assert not told.acquire(blocking=False)


def test_an_order_without_a_key_fails_alone(batcher: Batcher, engine: FakeEngine) -> None:
    really = engine.batch_key

    def key_of(order: ImageOrder) -> Hashable:
        if order.prompt == "odd":
            raise LookupError("no key")
        return really(order)

    engine.batch_key = key_of  # type: ignore[method-assign]
    odd, fine = batcher.submit(order("odd")), batcher.submit(order("fine"))
    assert isinstance(odd.exception(LONG_SECONDS), LookupError)
    assert red_of(fine) == red_of(batcher.submit(order("later"))) == 0


class OddKey:
    """A key that cannot be compared with others."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise LookupError("no order")


def _break_prepare(batcher: Batcher, engine: FakeEngine) -> None:
    engine.batch_key = lambda order: OddKey()  # type: ignore[method-assign]


def _break_gpu(batcher: Batcher, engine: FakeEngine) -> None:
    batcher._executor._may_begin = _raise


def _break_decode(batcher: Batcher, engine: FakeEngine) -> None:
    batcher._executor._measure_speed = _raise  # type: ignore[assignment, method-assign]


def _raise(_: object) -> bool:
    raise LookupError("a mistake of our own")


@pytest.mark.parametrize("break_it", [_break_prepare, _break_gpu, _break_decode])
def test_a_thread_that_breaks_fails_every_order_and_is_told_once(
    engine: FakeEngine, break_it: Callable[[Batcher, FakeEngine], None]
) -> None:
    told = threading.Semaphore(0)
    batcher = Batcher(engine, max_queue_delay_seconds=0, on_broken=told.release)
    held = hold(batcher, engine)
    break_it(batcher, engine)
    waiting = [batcher.submit(order(prompt)) for prompt in ("one", "two", "three")]
    engine.gate.set()
    assert told.acquire(timeout=LONG_SECONDS)
    assert all(isinstance(future.exception(LONG_SECONDS), LookupError) for future in waiting)
    assert all(future.done() for future in held)
    with pytest.raises(BatcherClosed):
        batcher.submit(order("later"))
    batcher.close()
    assert not told.acquire(blocking=False)


def test_three_batches_are_under_way_at_once() -> None:
    stages = threading.Barrier(3)

    class Staged(FakeEngine):
        """Its stages meet: none gets on unless the other two are at work."""

        def prepare(self, orders: Sequence[ImageOrder]) -> Sequence[ImageOrder]:
            if orders[0].prompt == "third":
                stages.wait(LONG_SECONDS)
            return orders

        def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
            if orders[0].prompt == "second":
                stages.wait(LONG_SECONDS)
            return super().generate(orders, on_step=on_step)

        def decode(self, denoised: Sequence[Image.Image]) -> list[Picture]:
            if denoised[0].width == 1:
                stages.wait(LONG_SECONDS)
            return super().decode(denoised)

    batcher = Batcher(Staged(), max_queue_delay_seconds=0)
    futures = [
        batcher.submit(order(name, width=width, edit=True))
        for width, name in enumerate(("first", "second", "third"), start=1)
    ]
    assert [future.result(LONG_SECONDS).shape[1] for future in futures] == [1, 2, 3]
    assert batcher.busy_seconds > 0
    batcher.close()


def test_orders_whose_company_saves_nothing_are_made_one_by_one(engine: FakeEngine, batcher: Batcher) -> None:
    for size, seconds in ((1, 1.0), (2, 1.98), (3, 2.94), (4, 3.9)):
        batcher._costs.add((8, 8), size=size, seconds=seconds)
    held = hold(batcher, engine)
    futures = [batcher.submit(order(str(number))) for number in range(4)]
    engine.gate.set()
    finish([*held, *futures])
    assert engine.batches[2:] == [["0"], ["1"], ["2"], ["3"]]


def test_a_batch_holds_no_more_orders_than_the_engine_allows_for_their_size(
    engine: FakeEngine, batcher: Batcher
) -> None:
    engine.limit_batch = lambda order: 2 if order.width == 8 else 4  # type: ignore[attr-defined]
    held = hold(batcher, engine)
    small = [batcher.submit(order(str(number), width=16)) for number in range(4)]
    large = [batcher.submit(order(f"large {number}")) for number in range(4)]
    engine.gate.set()
    finish([*held, *small, *large])
    assert [len(batch) for batch in engine.batches[2:]] == [4, 2, 2]


class QueueingEngine(FakeEngine):
    """Its steps return at once, as on a GPU, and the wait is in `decode`."""

    def __init__(self) -> None:
        super().__init__()
        self.denoised = threading.Semaphore(0)

    def denoise(self, prepared: Sequence[ImageOrder], *, on_step: StepCallback) -> Any:
        self.denoised.release()
        return prepared

    def decode(self, denoised: Any) -> list[Picture]:
        return super().decode(self.generate(denoised, on_step=lambda _done, _steps: None))


def test_the_device_is_expected_to_be_free_after_all_that_was_launched() -> None:
    engine = QueueingEngine()
    engine.gate.clear()
    batcher = Batcher(engine, max_queue_delay_seconds=0)
    batcher._executor.seconds_per_image = LONG_SECONDS
    started = time.monotonic()
    # Edits of this engine share no batch, so the second does not wait for company.
    futures = [batcher.submit(order(name, edit=True)) for name in ("first", "second")]
    for _ in futures:
        assert engine.denoised.acquire(timeout=LONG_SECONDS)
    # The second launch is noted before the engine is called.
    assert batcher._executor.free_at >= started + 2 * LONG_SECONDS
    engine.gate.set()
    finish(futures)
    batcher.close()
    assert batcher._executor.free_at <= time.monotonic()


def test_a_single_order_that_finds_no_memory_is_tried_once_more(engine: FakeEngine, batcher: Batcher) -> None:
    tries = []

    def lacks_memory(_orders: Sequence[ImageOrder]) -> bool:
        tries.append(1)
        raise OutOfDeviceMemory("no memory")

    engine.poison = lacks_memory
    with pytest.raises(OutOfDeviceMemory):
        batcher.submit(order("large")).result(LONG_SECONDS)
    assert len(tries) == 2


def test_a_worker_hangs_when_no_stage_goes_on_for_long(engine: FakeEngine, batcher: Batcher) -> None:
    batcher._executor.progressed_at -= 10 * FIRST_HANG_SECONDS
    assert not batcher.is_hanging, "an idle worker hangs"
    engine.gate.clear()
    future = batcher.submit(order("held"))
    engine.wait_until_started()
    assert not batcher.is_hanging, "a batch that began now hangs"
    batcher._executor.progressed_at -= FIRST_HANG_SECONDS
    assert batcher.is_hanging
    batcher._executor.seconds_per_image = FIRST_HANG_SECONDS
    assert not batcher.is_hanging, "a slow model hangs"
    batcher._executor.seconds_per_image = 0.1
    batcher._executor.progressed_at += FIRST_HANG_SECONDS - MIN_HANG_SECONDS
    assert batcher.is_hanging
    engine.gate.set()
    future.result(LONG_SECONDS)


def test_a_step_is_progress(engine: FakeEngine, batcher: Batcher) -> None:
    batcher._executor.progressed_at = 0.0
    batcher._executor._make_step_callback(Batch(jobs=[]))(1, 4)
    assert batcher._executor.progressed_at > 0
