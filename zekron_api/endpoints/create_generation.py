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
from workers.lifecycle import admission, generations, idempotency
from workers.lifecycle.idempotency import Idempotency
from workers.lifecycle.submission import Submission
from workers.models import Generation, Kind

# Longer than every deadline of a generation. The end of the generation deletes its source images earlier.
_SOURCE_LIFE = timedelta(hours=1)


class Created(NamedTuple):
    """A generation that was accepted now, or earlier under the same idempotency key (`replayed`)."""

    generation: Generation
    replayed: bool


def create(*, account_id: int, fields: dict[str, Any], idempotency_key: str | None) -> Created:
    """Submit the validated fields of a GenerateSerializer, unless the key names an accepted generation.

    Raises KeyReused, QueueTooLong, and the exceptions of `generations.submit`. Refusals leave no source image behind.
    """
    named = _idempotency(idempotency_key, fields)
    if named and (accepted := idempotency.find(account_id=account_id, idempotency=named)):
        return Created(accepted, replayed=True)
    model: ImageModel = fields["model"]
    admission.refuse_if_too_long(model_name=model.name, limit_seconds=settings.SYNC_WAIT_SECONDS)
    sealed = _seal_all(account_id, fields["images"])
    submission = _submission(account_id, fields, sealed, named)
    try:
        [generation] = generations.submit(submission=submission, open_limit=settings.OPEN_GENERATIONS_LIMIT)
    except idempotency.AlreadyAccepted as twin:
        # The same request arrived twice at once. The idempotency key decided which came first.
        _discard_all(sealed)
        return Created(twin.generation, replayed=True)
    except (
        idempotency.KeyReused,
        generations.TooManyOpen,
        ledger.InsufficientBalance,
        holds.AccountSuspended,
    ):
        # Only a refusal certainly recorded nothing. After any other error the row may exist and need its sources.
        _discard_all(sealed)
        raise
    return Created(generation, replayed=False)


def _idempotency(key: str | None, fields: dict[str, Any]) -> Idempotency | None:
    if key is None:
        return None
    width, height = fields["size"]
    model: ImageModel = fields["model"]
    return Idempotency.of(
        key=key, request=[fields["prompt"], model.name, f"{width}x{height}", *fields["images"]]
    )


def _submission(
    account_id: int, fields: dict[str, Any], sealed: Sequence[StoredImage], named: Idempotency | None
) -> Submission:
    model: ImageModel = fields["model"]
    width, height = fields["size"]
    return Submission(
        account_id=account_id,
        kind=Kind.EDIT if sealed else Kind.CREATE,
        model=model.name,
        prompt=fields["prompt"],
        # The generation keeps its seed, so that a second attempt makes the same image.
        parameters=[{"width": width, "height": height, "seed": secrets.randbits(32)}],
        quote_micros=model.price.quote_micros(width=width, height=height, source_count=len(sealed)),
        sources=[sealed],
        idempotency=named,
    )


def _seal_all(account_id: int, contents: Sequence[bytes]) -> list[StoredImage]:
    sealed: list[StoredImage] = []
    try:
        for content in contents:
            sealed.append(_seal(account_id, content))
    except Exception:
        _discard_all(sealed)
        raise
    return sealed


def _discard_all(sealed: Sequence[StoredImage]) -> None:
    for image in sealed:
        images.discard(image=image)


def _seal(account_id: int, content: bytes) -> StoredImage:
    return images.put(
        content=content,
        mime_type="image/png",
        associated_data=f"account {account_id} source",
        expires_at=timezone.now() + _SOURCE_LIFE,
    )
