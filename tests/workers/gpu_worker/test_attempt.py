"""One attempt, with a stand-in for the GPU and everything else real."""

import io
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from django.db import connections
from PIL import Image

from billing.audit import audit
from storage import images
from tests import factories
from workers import moderation
from workers.engine.batcher import Batcher, BatcherClosed
from workers.engine.interface import ImageOrder, OrderRefused, OutOfDeviceMemory, Picture, StepCallback
from workers.gpu_worker import attempt, heartbeat
from workers.lifecycle import attempt_statements, cancellation, generations, recovery
from workers.models import MAX_ATTEMPTS, Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)


def _run(engine: factories.StandInEngine, generation: Generation) -> Generation:
    with factories.attempt_context(engine) as context:
        attempt.run_next(context=context)
    return Generation.objects.select_related("image").get(pk=generation.pk)


def _png(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(out, "PNG")
    return out.getvalue()


def test_an_attempt_leaves_a_sealed_png_of_the_right_size_and_charges_the_quote() -> None:
    owner = factories.account()
    done = _run(factories.StandInEngine(), factories.submit(owner, now=None))
    with Image.open(io.BytesIO(images.load(image=done.image))) as picture:
        assert (picture.format, picture.size) == ("PNG", (512, 512))
    owner.refresh_from_db()
    assert (done.status, owner.spent_micros) == (Status.COMPLETED, factories.QUOTE_MICROS)


def test_the_engine_gets_the_source_images_in_their_order() -> None:
    engine = factories.StandInEngine()
    sources = [factories.sealed(_png("red")), factories.sealed(_png("blue"))]
    _run(engine, factories.submit(factories.account(), now=None, kind="edit", sources=[sources]))
    colours = [source.getpixel((5, 5)) for source in engine.orders[0].sources]
    assert colours == [(255, 0, 0), (0, 0, 255)]


def test_the_row_keeps_how_much_of_a_long_prompt_was_read() -> None:
    owner, engine = factories.account(), factories.StandInEngine()
    engine.read_count = 47
    cut = _run(engine, factories.submit(owner, now=None))
    asked = {"width": 512, "height": 512, "seed": 1}
    assert cut.parameters == {**asked, "prompt_tokens": 47, "prompt_tokens_read": 47}
    whole = _run(factories.StandInEngine(), factories.submit(owner, now=None))
    assert whole.parameters == {**asked, "prompt_tokens": 2}
    assert (whole.prompt_tokens, whole.prompt_tokens_read) == (2, None)


def test_the_same_message_fifty_times_makes_one_picture() -> None:
    engine = factories.StandInEngine()
    factories.submit(factories.account(), now=None)
    with factories.attempt_context(engine) as context:
        factories.at_once(50, lambda _: attempt.run_next(context=context))
    assert len(engine.orders) == 1
    assert list(audit()) == []


def test_a_failed_attempt_is_queued_again_with_a_backoff_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    generation = factories.submit(factories.account(), now=None)
    # By this clock the backoff is over long ago, so that the next attempt can follow at once.
    monkeypatch.setattr(generations, "retry", partial(generations.retry, now=factories.NOW))
    engine = factories.StandInEngine(RuntimeError("out of memory"), RuntimeError("out of memory"))
    again = _run(engine, generation)
    assert (again.status, again.hinted_at, again.error_detail) == (Status.QUEUED, None, "RuntimeError")
    assert again.not_before == factories.NOW + timedelta(seconds=2)
    again = _run(engine, generation)
    assert again.attempt_count == 2
    assert again.not_before == factories.NOW + timedelta(seconds=8)


def test_a_picture_is_sealed_for_its_generation_and_its_account() -> None:
    owner, other = factories.account(), factories.account()
    done = [_run(factories.StandInEngine(), factories.submit(who, now=None)) for who in (owner, other, owner)]
    assert [row.image.associated_data for row in done] == [
        f"account {row.account_id} generation {row.pk}" for row in done
    ]


def test_a_poisoned_generation_fails_after_three_attempts_and_is_free() -> None:
    owner = factories.account()
    generation = factories.submit(owner, now=None)
    engine = factories.StandInEngine(*[RuntimeError("poison")] * MAX_ATTEMPTS)
    for _ in range(MAX_ATTEMPTS):
        Generation.objects.filter(pk=generation.pk).update(not_before=factories.NOW)
        failed = _run(engine, generation)
    owner.refresh_from_db()
    assert (failed.status, failed.error_type, failed.attempt_count) == (
        "failed",
        "generation_failed",
        MAX_ATTEMPTS,
    )
    assert failed.error_code.startswith("GENERATION_FAILED_")
    assert (owner.reserved_micros, owner.spent_micros) == (0, 0)


def test_a_picture_that_is_black_all_over_is_never_stored_nor_charged(objects_folder: Path) -> None:
    owner = factories.account()

    class Blind(factories.StandInEngine):
        def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
            return [Image.new("RGB", (order.width, order.height)) for order in orders]

    again = _run(Blind(), factories.submit(owner, now=None))
    assert (again.status, again.error_detail) == (
        Status.QUEUED,
        "BadOutput: the engine made a picture that is black all over",
    )
    assert [path for path in objects_folder.rglob("*") if path.is_file()] == []


def test_a_worker_that_stops_puts_back_what_it_has_not_begun() -> None:
    generation = factories.submit(factories.account(), now=None)
    with factories.attempt_context(factories.StandInEngine()) as context:
        closed = Batcher(factories.StandInEngine())
        closed.close()
        attempt.run_next(
            context=context._replace(submit_order=lambda _, order, on_step: closed.submit(order, on_step)),
        )
    generation.refresh_from_db()
    assert (generation.status, generation.attempt_count) == (Status.QUEUED, 0)


@pytest.mark.parametrize("renews", [False, True], ids=["before the completion", "between the steps"])
def test_a_generation_that_is_cancelled_while_it_runs_is_free_and_leaves_no_object(
    renews: bool, objects_folder: Path
) -> None:
    owner = factories.account()
    generation = factories.submit(owner, now=None)

    class Cancelled(factories.StandInEngine):
        def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
            cancellation.request(
                generation=Generation.objects.get(pk=generation.pk), detail="it changed its mind"
            )
            if renews:
                context.heartbeat.beat()
            connections.close_all()
            on_step(1, 4)
            assert not renews
            return super().generate(orders, on_step=on_step)

    with factories.attempt_context(Cancelled()) as context:
        attempt.run_next(context=context)
    owner.refresh_from_db()
    generation.refresh_from_db()
    assert (generation.status, generation.error_type) == (Status.CANCELLED, "generation_cancelled")
    assert (owner.reserved_micros, owner.spent_micros) == (0, 0)
    assert [path for path in objects_folder.rglob("*") if path.is_file()] == []
    assert list(audit()) == []


def test_a_worker_that_stops_cancels_what_was_to_be_cancelled() -> None:
    generation = factories.submit(factories.account(), now=None)
    with factories.attempt_context(factories.StandInEngine()) as context:

        def close(*_: object) -> Future[Picture]:
            cancellation.request(generation=Generation.objects.get(pk=generation.pk), detail="")
            raise BatcherClosed

        attempt.run_next(context=context._replace(submit_order=close))
    generation.refresh_from_db()
    assert generation.status == Status.CANCELLED


def test_a_failed_attempt_at_what_was_to_be_cancelled_cancels_it() -> None:
    generation = factories.submit(factories.account(), now=None)

    class Broken(factories.StandInEngine):
        def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
            cancellation.request(generation=Generation.objects.get(pk=generation.pk), detail="")
            connections.close_all()
            raise RuntimeError("out of memory")

    assert _run(Broken(), generation).status == Status.CANCELLED


def test_a_lost_lease_charges_nothing_and_leaves_no_object(objects_folder: Path) -> None:
    owner = factories.account()
    generation = factories.submit(owner, now=None)

    class Thief(factories.StandInEngine):
        def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
            late = datetime.now(UTC) + timedelta(seconds=attempt_statements.LEASE_SECONDS + 1)
            recovery.rescue(limit=10, now=late)
            connections.close_all()
            return super().generate(orders, on_step=on_step)

    after = _run(Thief(), generation)
    owner.refresh_from_db()
    assert (after.status, owner.spent_micros) == (Status.QUEUED, 0)
    assert [path for path in objects_folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("is_painted", [False, True], ids=["while it is painted", "once it is painted"])
def test_a_lease_that_is_known_to_be_lost_stores_nothing(
    monkeypatch: pytest.MonkeyPatch, is_painted: bool
) -> None:
    generation = factories.submit(factories.account(), now=None)
    puts: list[object] = []
    monkeypatch.setattr(images, "put", lambda **values: puts.append(values))

    def overtake(**_: object) -> None:
        generations.fail(generation=Generation.objects.get(pk=generation.pk), **factories.ERROR)
        context.heartbeat.beat()

    class Overtaken(factories.StandInEngine):
        def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
            overtake()
            connections.close_all()
            return super().generate(orders, on_step=on_step)

    if is_painted:
        # The last that is asked of a picture before it is stored.
        monkeypatch.setattr(moderation, "refuse_picture", overtake)
    with factories.attempt_context(factories.StandInEngine() if is_painted else Overtaken()) as context:
        attempt.run_next(context=context)
    generation.refresh_from_db()
    assert (generation.status, generation.error_detail, puts) == (Status.FAILED, "told so", [])


def test_a_beat_tells_an_attempt_that_its_lease_is_lost() -> None:
    running = factories.generation_in(Status.RUNNING, factories.account())
    pulse = heartbeat.Heartbeat(worker_name="test")
    with pulse.keep_lease(running.lease_token) as lost:
        pulse.beat()
        assert not lost.is_set()
        generations.fail(generation=running, **factories.ERROR)
        pulse.beat()
        assert lost.is_set()


def test_a_generation_that_its_engine_refuses_fails_at_once_and_is_free() -> None:
    owner = factories.account()
    refused = _run(factories.StandInEngine(OrderRefused("replied 400")), factories.submit(owner, now=None))
    owner.refresh_from_db()
    assert (refused.status, refused.attempt_count) == (Status.FAILED, 1)
    assert refused.error_detail == "OrderRefused: replied 400"
    assert (owner.reserved_micros, owner.spent_micros) == (0, 0)


def test_a_generation_that_does_not_fit_into_memory_fails_at_once_and_is_free() -> None:
    owner = factories.account()
    # The batcher tries it a second time, without company.
    engine = factories.StandInEngine(OutOfDeviceMemory("no memory"), OutOfDeviceMemory("no memory"))
    failed = _run(engine, factories.submit(owner, now=None))
    owner.refresh_from_db()
    assert (failed.status, failed.attempt_count) == (Status.FAILED, 1)
    assert (owner.reserved_micros, owner.spent_micros) == (0, 0)
