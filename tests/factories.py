"""Objects that tests of several packages set up: accounts, generations in any state, a fake engine."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.db import connections, transaction
from PIL import Image

from billing import codes, ledger
from billing.models import Account
from storage import images
from storage.models import StoredImage
from storage.postgresql import plain_sql
from tests.engines import UnstagedEngine
from workers.engine.batcher import Batcher
from workers.engine.interface import ImageOrder, PromptTokens, StepCallback
from workers.gpu_worker import stages
from workers.gpu_worker.attempt import AttemptContext
from workers.gpu_worker.heartbeat import Heartbeat
from workers.lifecycle import generations
from workers.lifecycle.submission import Submission
from workers.models import MAX_ATTEMPTS, Generation, Kind, Status

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
QUOTE_MICROS = 26_700
ERROR: dict[str, Any] = {
    "error_type": "generation_failed",
    "error_code": "GENERATION_FAILED_ABCDEF_1",
    "detail": "told so",
}

_RECORD = f"WITH given AS (SELECT), {images.record(after='given')} SELECT id FROM image"  # noqa: S608
_names = itertools.count(1)
# Each claimed generation goes ahead of those that an earlier claim has moved and not claimed.
_turns = itertools.count(1)


def account(*, balance_micros: int = 10_000_000) -> Account:
    """Open a new account with this much on it."""
    return ledger.open_account(name=f"account {next(_names)}", opening_micros=balance_micros, actor="test")


def redemption_code(*, amount_micros: int = 25_000_000) -> str:
    """Make a code, and return its text."""
    [(_, text)] = codes.create(
        amount_micros=amount_micros,
        count=1,
        expires_at=datetime.now(UTC) + timedelta(days=1),
        actor="test",
        reason="sold",
    )
    return text


def submit(
    owner: Account, *, open_limit: int = 1000, now: datetime | None = NOW, **changes: Any
) -> Generation:
    """Queue a create of 512x512, and return it fresh from the database."""
    [made] = submit_all(owner, open_limit=open_limit, now=now, **changes)
    return made


def submit_all(
    owner: Account, *, open_limit: int = 1000, now: datetime | None = NOW, **changes: Any
) -> list[Generation]:
    """Queue creates of 512x512, one for each item of `parameters`, and return them fresh from the database."""
    fields: dict[str, Any] = {
        "account_id": owner.pk,
        "kind": Kind.CREATE,
        "model": "zekron-image-1",
        "prompt": "a boat",
        "parameters": [{"width": 512, "height": 512, "seed": 1}],
        "quote_micros": QUOTE_MICROS,
    }
    submission = Submission(**{**fields, **changes})
    return generations.submit(submission=submission, open_limit=open_limit, now=now)


def finish(running: Generation, *, now: datetime | None = NOW) -> Generation:
    """Completes a running generation with an image of three bytes."""
    generations.complete(generation=running, image=sealed(), cost_micros=running.quote_micros, now=now)
    return Generation.objects.get(pk=running.pk)


def sealed(content: bytes = b"png") -> StoredImage:
    """Put an image without a row into the store."""
    return images.put(
        content=content, mime_type="image/png", associated_data="test", expires_at=NOW + timedelta(hours=24)
    )


def generation_in(status: Status, owner: Account) -> Generation:
    """Return a generation that came to this status by the transitions."""
    queued = submit(owner)
    if status == Status.CANCELLED:
        generations.cancel(generation=queued, error_type="service_busy", error_code="X", now=NOW)
    if status in {Status.RUNNING, Status.COMPLETED, Status.FAILED}:
        running = claim(generation_id=queued.pk, now=NOW)
        if status == Status.COMPLETED:
            finish(running)
        if status == Status.FAILED:
            generations.fail(generation=running, **ERROR, now=NOW)
    return Generation.objects.get(pk=queued.pk)


def record(image: StoredImage) -> StoredImage:
    """Insert the row of an image that was put, alone, where production records it with what it belongs to."""
    [(image.pk, *_)] = plain_sql.execute(_RECORD, images.record_values([image]))
    image.refresh_from_db()
    return image


def claim(*, generation_id: int, now: datetime | None = None) -> Generation:
    """Claim this generation as a worker claims the next one, by making it the next. Raises NotClaimable."""
    row = Generation.objects.filter(pk=generation_id)
    row.filter(status=Status.QUEUED).update(turn_at=LONG_AGO - timedelta(seconds=next(_turns)))
    with transaction.atomic():
        claimed = generations.claim_next(models={row.values_list("model", flat=True).get()}, now=now)
        if claimed.pk != generation_id:
            # Leaving the transaction by an exception gives the other one back.
            raise generations.NotClaimable
    return claimed


def exhausted(owner: Account) -> Generation:
    """Return a running generation at its last attempt."""
    generation = submit(owner)
    for _ in range(MAX_ATTEMPTS - 1):
        running = claim(generation_id=generation.pk, now=NOW)
        generations.retry(generation=running, backoff_seconds=0, detail="again", now=NOW)
    return claim(generation_id=generation.pk, now=NOW)


def expire_image(generation_id: int) -> None:
    """Move the expiry of a completed generation's image into the past."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    generation = Generation.objects.get(pk=generation_id)
    Generation.objects.filter(pk=generation_id).update(expires_at=past)
    StoredImage.objects.filter(pk=generation.image_id).update(expires_at=past)


def at_once(count: int, work: Callable[[int], object]) -> list[Any]:
    """Run `work(i)` in `count` threads that start together; return each one's result, or the exception it raised."""
    barrier = threading.Barrier(count)
    results: list[Any] = [None] * count

    def run(index: int) -> None:
        try:
            barrier.wait()
            results[index] = work(index)
        except Exception as error:  # noqa: BLE001 (the test looks at it)
            results[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class StandInEngine(UnstagedEngine):
    """Stands in for the GPU: one flat colour of the right size, or the exceptions it is given, in turn."""

    batch_limit = 4

    def __init__(self, *failures: Exception | None) -> None:
        self.orders: list[ImageOrder] = []
        # The tokens that it says it has read of each prompt. None says that it has read all words.
        self.read_count: int | None = None
        self._failures = list(failures)

    def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
        """Paint every order in one colour, or raise the next failure."""
        self.orders.extend(orders)
        failure = self._failures.pop(0) if self._failures else None
        if failure is not None:
            raise failure
        for order in orders:
            words = len(order.prompt.split())
            read = words if self.read_count is None else self.read_count
            order.on_prompt_read(PromptTokens(read, words if self.read_count is None else read + words))
        on_step(1, 1)
        return [Image.new("RGB", (order.width, order.height), "teal") for order in orders]


@contextmanager
def attempt_context(engine: StandInEngine) -> Iterator[AttemptContext]:
    """Make what an attempt works with around this engine, and a heartbeat that shows a worker."""
    batcher = Batcher(engine, on_stage=partial(stages.note_engine_stage, "zekron-image-1"))
    heartbeat = Heartbeat(worker_name="test")
    heartbeat.start()
    try:
        yield AttemptContext(
            submit_order=lambda _, order, on_step: batcher.submit(order, on_step), heartbeat=heartbeat
        )
    finally:
        batcher.close()
        heartbeat.close()
