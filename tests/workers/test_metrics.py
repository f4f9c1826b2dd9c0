"""The metrics of generations: each is counted once, by the process that brought it to its end."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from prometheus_client import REGISTRY

from tests import factories
from workers import metrics
from workers.gpu_worker import attempt
from workers.lifecycle import cancellation, completion, generations, recovery
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)
MODEL = "zekron-image-1"


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def ended(outcome: str, error_type: str = "", *, kind: str = "create") -> float:
    labels = {"model": MODEL, "kind": kind, "outcome": outcome, "error_type": error_type}
    return value("zekron_generations_ended_total", **labels)


def test_a_completion_is_counted_with_its_charge() -> None:
    before = ended("completed"), value("zekron_charged_micros_total", model=MODEL)
    done = factories.generation_in(Status.COMPLETED, factories.account())
    assert ended("completed") == before[0] + 1
    assert value("zekron_charged_micros_total", model=MODEL) == before[1] + done.cost_micros


def test_a_completion_whose_commit_got_no_answer_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    running = factories.generation_in(Status.RUNNING, factories.account())
    before = ended("completed")
    with monkeypatch.context() as patched:
        # The process dies to the answer: the row is completed, and nothing after the COMMIT ran.
        patched.setattr(metrics, "count_completion", lambda *_: None)
        image = factories.sealed()
        generations.complete(generation=running, image=image, cost_micros=running.quote_micros)
    completion.complete_with_retry(generation=running, image=image)
    assert ended("completed") == before + 1


def test_each_end_without_an_image_is_counted_by_its_error_type() -> None:
    kinds = [("failed", "generation_failed"), ("cancelled", "generation_cancelled")]
    before = [ended(*kind) for kind in kinds]
    owner = factories.account()
    factories.generation_in(Status.FAILED, owner)
    cancellation.request(generation=factories.submit(owner), detail="asked")
    # The sweep gives up what is past its deadline.
    factories.submit(owner, now=timezone.now() - timedelta(hours=1))
    recovery.sweep()
    assert [ended(*kind) for kind in kinds] == [before[0] + 2, before[1] + 1]


def test_an_end_that_is_rolled_back_is_not_counted() -> None:
    generation = factories.submit(factories.account())
    before = ended("cancelled", "generation_cancelled")
    with transaction.atomic():
        cancellation.request(generation=generation, detail="asked")
        transaction.set_rollback(True)
    assert ended("cancelled", "generation_cancelled") == before


def test_the_wait_is_timed_at_the_first_claim_alone() -> None:
    factories.submit(factories.account(), now=timezone.now() - timedelta(seconds=40))
    count, total = (f"zekron_wait_seconds_{part}" for part in ("count", "sum"))
    labels = {"model": MODEL, "mode": "synchronous"}
    before = value(count, **labels), value(total, **labels)
    claimed = generations.claim_next()
    generations.put_back(lease_tokens=[claimed.lease_token])
    generations.claim_next()
    assert value(count, **labels) == before[0] + 1
    assert 40 <= value(total, **labels) - before[1] < 100


def test_each_stage_of_a_picture_is_timed_and_its_batch_counted() -> None:
    stages = ["prepare", "denoise", "decode", "encode", "store", "settle"]

    def counts() -> list[float]:
        of_stages = [value("zekron_make_seconds_count", model=MODEL, stage=stage) for stage in stages]
        return [*of_stages, value("zekron_batch_size_sum", model=MODEL)]

    before = counts()
    factories.submit(factories.account(), now=timezone.now())
    with factories.attempt_context(factories.StandInEngine()) as context:
        attempt.run_next(context=context)
    assert [after - earlier for after, earlier in zip(counts(), before, strict=True)] == [1] * 7


def test_a_measurement_that_fails_costs_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "BATCH_SIZE", None)
    factories.submit(factories.account(), now=timezone.now())
    with factories.attempt_context(factories.StandInEngine()) as context:
        attempt.run_next(context=context)
    assert Generation.objects.get().status == Status.COMPLETED
