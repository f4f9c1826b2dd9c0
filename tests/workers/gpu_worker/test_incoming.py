"""Orders on the way to the batchers, so that one that comes by itself waits for nobody."""

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests import factories
from workers.engine.batcher import Batcher
from workers.engine.interface import ImageOrder, Picture, StepCallback
from workers.gpu_worker import attempt, process
from workers.gpu_worker.incoming import IncomingOrders
from workers.lifecycle import generations
from workers.models import Generation, Status


def test_a_thread_is_on_its_way_until_it_has_arrived() -> None:
    arrivals = IncomingOrders()
    with arrivals.expect_order():
        assert arrivals.has_any()
        arrivals.mark_arrived()
        assert not arrivals.has_any()


def test_one_that_never_arrives_is_on_its_way_no_longer_than_it_works() -> None:
    arrivals = IncomingOrders()
    with pytest.raises(RuntimeError), arrivals.expect_order():
        raise RuntimeError
    assert not arrivals.has_any()


def test_one_that_arrives_leaves_the_others_on_their_way() -> None:
    arrivals, started, go_on = IncomingOrders(), threading.Event(), threading.Event()

    def other() -> None:
        with arrivals.expect_order():
            started.set()
            go_on.wait()

    thread = threading.Thread(target=other)
    thread.start()
    started.wait()
    with arrivals.expect_order():
        arrivals.mark_arrived()
        assert arrivals.has_any()
    go_on.set()
    thread.join()
    assert not arrivals.has_any()


@pytest.mark.django_db(transaction=True)
def test_a_worker_s_order_has_arrived_before_its_batcher_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    submit = Batcher.submit

    def note(batcher: Batcher, order: ImageOrder, on_step: StepCallback | None) -> "Future[Picture]":
        # As the batcher asks when it decides whether to wait for company.
        seen.append(batcher._more_may_come())
        return submit(batcher, order, on_step)

    monkeypatch.setattr(Batcher, "submit", note)
    monkeypatch.setattr(process, "load_engine", lambda **_: factories.StandInEngine())
    opened = process.GpuWorker(worker_name="test", capacity=1, queues={"gpu"})
    try:
        order = ImageOrder(prompt="a boat", width=512, height=512, seed=1)
        with opened.context.expect_order():
            opened.context.submit_order("zekron-image-1", order, None).result()
    finally:
        opened.close()
    assert seen == [False]


@pytest.mark.django_db(transaction=True)
def test_an_attempt_is_on_its_way_while_it_is_claimed(
    monkeypatch: pytest.MonkeyPatch, objects_folder: Path
) -> None:
    waiting, arrivals, seen = (
        factories.submit(factories.account(), now=None),
        IncomingOrders(),
        [],
    )
    claim_next = generations.claim_next

    def claim(**about: Any) -> Generation:
        seen.append(arrivals.has_any())
        return claim_next(**about)

    monkeypatch.setattr(generations, "claim_next", claim)
    with factories.attempt_context(factories.StandInEngine()) as context:
        attempt.run_next(context=context._replace(expect_order=arrivals.expect_order))
    assert seen == [True]
    assert Generation.objects.get(pk=waiting.pk).status == Status.COMPLETED
