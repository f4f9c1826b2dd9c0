"""Who is on the way to the batchers, so that one that comes by itself waits for nobody."""

import threading
from concurrent.futures import Future

import pytest

from tests import factories
from workers.engine.batcher import Batcher
from workers.engine.interface import ImageOrder, Picture
from workers.gpu_worker import attempt, process
from workers.gpu_worker.incoming import Arrivals
from workers.lifecycle import generations
from workers.models import Generation, Status


def test_a_thread_is_on_its_way_until_it_has_arrived():
    arrivals = Arrivals()
    with arrivals.coming():
        assert arrivals.any()
        arrivals.arrived()
        assert not arrivals.any()


def test_one_that_never_arrives_is_on_its_way_no_longer_than_it_works():
    arrivals = Arrivals()
    with pytest.raises(RuntimeError), arrivals.coming():
        raise RuntimeError
    assert not arrivals.any()


def test_one_that_arrives_leaves_the_others_on_their_way():
    arrivals, started, go_on = Arrivals(), threading.Event(), threading.Event()

    def other() -> None:
        with arrivals.coming():
            started.set()
            go_on.wait()

    thread = threading.Thread(target=other)
    thread.start()
    started.wait()
    with arrivals.coming():
        arrivals.arrived()
        assert arrivals.any()
    go_on.set()
    thread.join()
    assert not arrivals.any()


@pytest.mark.django_db(transaction=True)
def test_a_worker_s_order_has_arrived_before_its_batcher_sees_it(monkeypatch):
    seen = []
    submit = Batcher.submit

    def note(batcher: Batcher, order: ImageOrder) -> "Future[Picture]":
        # As the batcher asks when it decides whether to wait for company.
        seen.append(batcher._more_may_come())
        return submit(batcher, order)

    monkeypatch.setattr(Batcher, "submit", note)
    monkeypatch.setattr(process, "load_engine", lambda **_: factories.StandInEngine())
    opened = process.Workshop(worker_name="test", capacity=1, queues={"gpu"})
    try:
        order = ImageOrder(prompt="a boat", width=512, height=512, seed=1)
        with opened.studio.coming():
            opened.studio.paint("zekron-image-1", order).result()
    finally:
        opened.close()
    assert seen == [False]


@pytest.mark.django_db(transaction=True)
def test_an_attempt_is_on_its_way_while_it_is_claimed(monkeypatch, objects_folder):
    waiting, arrivals, seen = factories.submit(factories.account(), now=generations.Now()), Arrivals(), []
    claim_next = generations.claim_next

    def claim(**about: object) -> Generation:
        seen.append(arrivals.any())
        return claim_next(**about)

    monkeypatch.setattr(generations, "claim_next", claim)
    with factories.studio(factories.StandInEngine()) as studio:
        attempt.run_next(studio=studio._replace(coming=arrivals.coming))
    assert seen == [True]
    assert Generation.objects.get(pk=waiting.pk).status == Status.COMPLETED
