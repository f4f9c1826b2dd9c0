"""One attempt at one generation, from its claim to its end: prepare, make, encode, seal, store, settle."""

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from django.db import DatabaseError
from PIL import Image

from storage import failpoints, images
from storage.models import StoredImage
from workers import error_redaction, log_context, moderation
from workers.engine.batcher import BatcherClosed
from workers.engine.interface import (
    ImageOrder,
    OrderDropped,
    OrderRefused,
    OutOfDeviceMemory,
    Picture,
    PreviewCallback,
    PromptReadCallback,
    PromptTokens,
    StepCallback,
    refuse_unfit,
)
from workers.gpu_worker import finished_image, previews, stages
from workers.gpu_worker.heartbeat import Heartbeat
from workers.imaging import letterbox, masks, source_images, source_manifest
from workers.lifecycle import cancellation, completion, error_codes, generations
from workers.messaging import counters, partial_images
from workers.models import GENERATION_FAILED, Generation, Kind

log = logging.getLogger(__name__)

# The delay before the second attempt. The third waits four times as long, so that a broken service can recover.
BACKOFF_SECONDS = 2.0

SubmitOrder = Callable[[str, ImageOrder, StepCallback | None], "Future[Picture]"]


class AttemptContext(NamedTuple):
    """The services that an attempt needs from its process.

    `submit_order` queues an order for a model by its name, with a callback for its steps. `heartbeat` keeps the
    attempt's lease. `models` limits the claims to these models, and None allows all. `expect_order` is entered before
    the claim, so that the batcher knows of an order on its way. `follow_steps` is entered with the generation's id and
    gives the callback for its steps, or None. `follow_previews` does the same for the partial images of a generation
    that asks for them.
    """

    submit_order: SubmitOrder
    heartbeat: Heartbeat
    models: Collection[str] | None = None
    expect_order: Callable[[], AbstractContextManager[None]] = nullcontext
    follow_steps: Callable[[int], AbstractContextManager[StepCallback | None]] = lambda _: nullcontext()
    follow_previews: Callable[[Generation], AbstractContextManager[PreviewCallback | None]] = lambda _: (
        nullcontext()
    )


def run_next(*, context: AttemptContext) -> None:
    """Claim the generation whose turn it is, if there is one, and bring it to its end or back into the queue."""
    with context.expect_order():
        try:
            generation = generations.claim_next(models=context.models)
        except generations.NotClaimable:
            return
        carry_out(generation=generation, context=context)


def carry_out(*, generation: Generation, context: AttemptContext) -> None:
    """Make one attempt at a generation that was claimed just now."""
    assert generation.lease_token is not None
    with (
        log_context.adding(
            request_id=generation.request_id,
            account_id=generation.account_id,
            generation_id=generation.pk,
            trace_id=generation.trace_id,
        ),
        context.heartbeat.keep_lease(generation.lease_token) as is_unwanted,
    ):
        try:
            _bring_to_an_end(generation, context, is_unwanted)
        except generations.LeaseLost:
            log.warning("generation %s: the lease was lost, so the attempt is dropped", generation.pk)
        except DatabaseError:
            # The last COMMIT may or may not have taken place. The sweep reads the row, which has the answer.
            log.exception("generation %s: the database failed, so the sweep decides", generation.pk)


def order_of(
    generation: Generation,
    *,
    files: Sequence[bytes] = (),
    is_unwanted: Callable[[], bool] = lambda: False,
    on_prompt_read: PromptReadCallback = lambda _: None,
) -> ImageOrder:
    """Return the order for the engine, with the source images decoded from these files, and without previews."""
    sources, mask = _sources(generation, files)
    return ImageOrder(
        prompt=generation.prompt,
        width=generation.parameters["width"],
        height=generation.parameters["height"],
        seed=generation.parameters["seed"],
        negative_prompt=generation.parameters.get("negative_prompt", ""),
        sources=sources,
        mask=mask,
        is_unwanted=is_unwanted,
        on_prompt_read=on_prompt_read,
        traceparent=generation.traceparent,
    )


def _source_files(generation: Generation) -> list[bytes]:
    """Return the files of the source images, unsealed, and of the mask behind them."""
    if generation.kind != Kind.EDIT:
        return []
    sealed = generation.sources.select_related("image").order_by("position")
    return [_content(source.image) for source in sealed]


def _source_manifests(generation: Generation, files: Sequence[bytes]) -> list[bytes]:
    """Return the archive of each source image's own manifest, or nothing in its place."""
    image_count = len(files) - bool(generation.parameters.get(masks.PARAMETER))
    return [source_manifest.split(file)[1] for file in files[:image_count]]


def _sources(
    generation: Generation, contents: Sequence[bytes]
) -> tuple[tuple[Image.Image, ...], Image.Image | None]:
    """Return the sources and, if the last one is a mask, that mask. With it, the first has the ordered size."""
    if not generation.parameters.get(masks.PARAMETER):
        return tuple(map(source_images.decode, contents)), None
    size = (generation.parameters["width"], generation.parameters["height"])
    first, *others = map(source_images.decode, contents[:-1])
    mask = letterbox.fit_mask(masks.decode(contents[-1]), size)
    return (letterbox.fit(first, size), *others), mask


def _content(source: StoredImage) -> bytes:
    try:
        return images.load(image=source)
    except (images.ImageUnreadable, images.ObjectMissing):
        counters.count_unreadable_image()
        raise


def _bring_to_an_end(generation: Generation, context: AttemptContext, is_unwanted: threading.Event) -> None:
    try:
        _make(generation, context, is_unwanted)
    except (generations.LeaseLost, DatabaseError):
        raise
    except (generations.CancelRequested, OrderDropped):
        _cancel(generation)
    except BatcherClosed:
        assert generation.lease_token is not None
        if generations.put_back(lease_tokens=[generation.lease_token]):
            log.info("generation %s: requeued, because this worker stops", generation.pk)
        else:
            _cancel(generation)
    except moderation.ContentRefused as refusal:
        # Another attempt would make the same picture.
        _fail(generation, f"its picture was refused: {refusal.category}", moderation.CONTENT_POLICY_VIOLATION)
    except OutOfDeviceMemory as error:
        # It found too little memory alone, and every other attempt would take its neighbours' memory again.
        log.error("generation %s: it does not fit into the device's memory", generation.pk, exc_info=error)
        _fail(generation, error_redaction.summarise(error)[:1000])
    except OrderRefused as error:
        log.error("generation %s: the engine cannot make it", generation.pk, exc_info=error)
        _fail(generation, error_redaction.summarise(error)[:1000])
    except Exception as error:  # noqa: BLE001 (after any error, the money must not stay held)
        _give_back(generation, error)


def _make(generation: Generation, context: AttemptContext, is_unwanted: threading.Event) -> None:
    prompt_tokens: list[PromptTokens] = []
    files = _source_files(generation)
    order = order_of(
        generation, files=files, is_unwanted=is_unwanted.is_set, on_prompt_read=prompt_tokens.append
    )
    with (
        context.follow_steps(generation.pk) as on_step,
        _following_previews(order, generation, context) as order,
    ):
        picture = context.submit_order(generation.model, order, on_step).result()
    refuse_unfit(picture, order)
    if order.mask is not None:
        picture = masks.paste(picture, source=order.sources[0], mask=order.mask)
    moderation.refuse_picture(picture=picture)
    if is_unwanted.is_set():
        raise generations.CancelRequested
    failpoints.reach("painted")
    measure = partial(stages.measure, generation=generation)
    with measure("encode"):
        finished = finished_image.encode(
            picture, generation=generation, source_manifests=_source_manifests(generation, files)
        )
    with measure("store"):
        image = finished_image.store(finished, generation=generation)
    failpoints.reach("stored")
    try:
        with measure("settle"):
            completion.complete_with_retry(
                generation=generation,
                image=image,
                prompt_tokens=prompt_tokens[0] if prompt_tokens else None,
                mark=finished.mark,
            )
    except (generations.LeaseLost, generations.CancelRequested):
        images.discard(image=image)
        raise
    log.info("generation %s: completed at attempt %d", generation.pk, generation.attempt_count)


@contextmanager
def _following_previews(
    order: ImageOrder, generation: Generation, context: AttemptContext
) -> Iterator[ImageOrder]:
    """Give the order, with previews if the generation asks for partial images. They are deleted after the block."""
    count = previews.count_of(generation)
    if not count:
        yield order
        return
    try:
        with context.follow_previews(generation) as on_preview:
            yield replace(order, preview_count=count, on_preview=on_preview) if on_preview else order
    finally:
        partial_images.forget(generation_id=generation.pk)


def _give_back(generation: Generation, error: Exception) -> None:
    """Requeue the generation while it has attempts left, otherwise fail it.

    After the loss of the lease nothing changes, because the generation belongs to its new holder. A generation that is
    to be cancelled is cancelled.
    """
    detail = error_redaction.summarise(error)[:1000]
    log.error("generation %s: attempt %d failed", generation.pk, generation.attempt_count, exc_info=error)
    backoff_seconds = BACKOFF_SECONDS * 4 ** (generation.attempt_count - 1)
    try:
        generations.retry(generation=generation, backoff_seconds=backoff_seconds, detail=detail)
    except generations.LeaseLost:
        if not cancellation.end_requested(generation=generation):
            _fail(generation, detail)


def _cancel(generation: Generation) -> None:
    """Cancel the generation, as its client asked. Raise LeaseLost if the attempt is unwanted because of its lease."""
    if not cancellation.end_requested(generation=generation):
        raise generations.LeaseLost
    log.info("generation %s: cancelled at attempt %d", generation.pk, generation.attempt_count)


def _fail(generation: Generation, detail: str, error_type: str = GENERATION_FAILED) -> None:
    code = error_codes.new_code(error_type=error_type)
    try:
        generations.fail(generation=generation, error_type=error_type, error_code=code, detail=detail)
        log.error("%s generation %s: failed permanently: %s", code, generation.pk, detail)
    except generations.LeaseLost:
        log.warning("generation %s: the lease was lost, so its new holder decides", generation.pk)
