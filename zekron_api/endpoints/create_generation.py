"""Idempotent creation of a generation from the validated fields of a request.

It finds a retry, quotes the price, encrypts the source images and submits the generation.
"""

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.utils import timezone

from billing import holds, ledger
from storage import images
from storage.models import StoredImage
from workers.catalogue import ImageModel
from workers.lifecycle import admission, generations, idempotency, lost_clients, partials
from workers.lifecycle.idempotency import Idempotency
from workers.lifecycle.submission import Submission
from workers.messaging.partial_images import PARAMETER as PARTIAL_IMAGES
from workers.models import Generation, Kind

# The life of a source after its time in the queue, which is longer than every deadline of a generation. The end of the
# generation deletes its source images earlier.
_SOURCE_LIFE = timedelta(hours=1)


class Created(NamedTuple):
    """A generation that was accepted now, or earlier: under the same idempotency key, or for a client that was lost."""

    generation: Generation
    replayed: bool = False
    attached: bool = False


def create(
    *,
    account_id: int,
    fields: dict[str, Any],
    idempotency_key: str | None,
    queue_seconds: int | None = None,
    lost_digest: str = "",
) -> Created:
    """Submit the validated fields of a GenerateSerializer, unless the key names an accepted generation.

    `queue_seconds` is for asynchronous work: the time in which an attempt must start. `lost_digest` is for a retry that
    may belong to a generation whose client was lost. Raises KeyReused, PartialsSuspended, QueueTooLong, and
    the exceptions of `generations.submit`. Refusals leave no source image behind.
    """
    named = _idempotency(idempotency_key, fields)
    if named and (accepted := idempotency.find(account_id=account_id, idempotency=named)):
        return Created(accepted, replayed=True)
    if lost_digest and (lost := lost_clients.attach(account_id=account_id, digest=lost_digest)):
        return Created(lost, attached=True)
    if fields[PARTIAL_IMAGES]:
        partials.refuse_if_suspended(account_id=account_id)
    is_async = queue_seconds is not None
    admission.refuse_if_too_long(
        model_name=fields["model"].name,
        limit_seconds=settings.SYNC_WAIT_SECONDS if queue_seconds is None else queue_seconds,
        needs_worker=not is_async,
    )
    sealed = _seal_all(account_id, fields["images"], queue_seconds or 0)
    submission = _submission(account_id, fields, sealed, named, queue_seconds)
    open_limit = settings.QUEUE_LIMIT if is_async else settings.OPEN_GENERATIONS_LIMIT
    try:
        [generation] = generations.submit(submission=submission, open_limit=open_limit)
    except idempotency.AlreadyAccepted as twin:
        # The same request arrived twice at once. The idempotency key decided which came first.
        _discard_all(sealed)
        return Created(twin.generation, replayed=True)
    except (
        idempotency.KeyReused,
        generations.TooManyOpen,
        generations.TooManyQueued,
        ledger.InsufficientBalance,
        holds.AccountSuspended,
    ):
        # Only a refusal certainly recorded nothing. After any other error the row may exist and need its sources.
        _discard_all(sealed)
        raise
    return Created(generation)


def _idempotency(key: str | None, fields: dict[str, Any]) -> Idempotency | None:
    if key is None:
        return None
    # Fields that a request did not have in the first release are added only where they are sent.
    more = [f"async {fields['async']}"] if fields["async"] is not None else []
    more += [f"queue_ttl {fields['queue_ttl']}"] if fields["queue_ttl"] is not None else []
    more += [f"{PARTIAL_IMAGES} {fields[PARTIAL_IMAGES]}"] if fields[PARTIAL_IMAGES] else []
    return Idempotency.of(key=key, request=[*content_of(fields), *more])


def content_of(fields: dict[str, Any]) -> list[str | bytes]:
    """Return the parts of a request that say which picture it asks for."""
    width, height = fields["size"]
    model: ImageModel = fields["model"]
    return [fields["prompt"], model.name, f"{width}x{height}", *fields["images"]]


def _submission(
    account_id: int,
    fields: dict[str, Any],
    sealed: Sequence[StoredImage],
    named: Idempotency | None,
    queue_seconds: int | None,
) -> Submission:
    model: ImageModel = fields["model"]
    width, height = fields["size"]
    wanted = {PARTIAL_IMAGES: fields[PARTIAL_IMAGES]} if fields[PARTIAL_IMAGES] else {}
    return Submission(
        account_id=account_id,
        kind=Kind.EDIT if sealed else Kind.CREATE,
        model=model.name,
        prompt=fields["prompt"],
        # The generation keeps its seed, so that a second attempt makes the same image.
        parameters=[{"width": width, "height": height, "seed": secrets.randbits(32), **wanted}],
        quote_micros=model.price.quote_micros(width=width, height=height, source_count=len(sealed)),
        sources=[sealed],
        idempotency=named,
        queue_seconds=queue_seconds,
    )


def _seal_all(account_id: int, contents: Sequence[bytes], queue_seconds: int) -> list[StoredImage]:
    sealed: list[StoredImage] = []
    try:
        for content in contents:
            sealed.append(_seal(account_id, content, queue_seconds))
    except Exception:
        _discard_all(sealed)
        raise
    return sealed


def _discard_all(sealed: Sequence[StoredImage]) -> None:
    for image in sealed:
        images.discard(image=image)


def _seal(account_id: int, content: bytes, queue_seconds: int) -> StoredImage:
    return images.put(
        content=content,
        mime_type="image/png",
        associated_data=f"account {account_id} source",
        expires_at=timezone.now() + timedelta(seconds=queue_seconds) + _SOURCE_LIFE,
    )
