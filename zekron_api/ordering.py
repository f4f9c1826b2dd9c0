"""From checked fields to a queued generation: quotes the price, seals the source images, submits."""

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from billing import ledger
from storage import images
from storage.models import StoredImage
from workers import generations
from workers.catalogue import ImageModel
from workers.models import Generation, Kind

# Source images outlive every deadline of their generation, and go with its end.
_SOURCE_LIFE = timedelta(hours=1)


def place(*, account_id: int, fields: dict[str, Any]) -> Generation:
    """Submits what a GenerateSerializer has checked; when it is refused, its sealed sources are removed again."""
    sealed = _seal_all(account_id, fields["images"])
    try:
        return generations.submit(
            submission=_submission(account_id, fields, sealed), open_limit=settings.OPEN_GENERATIONS_LIMIT
        )
    except (generations.TooManyOpen, ledger.InsufficientBalance, ledger.AccountSuspended):
        # Only a refusal is sure to have recorded nothing; after any other error the row may be there.
        _discard_all(sealed)
        raise


def _submission(
    account_id: int, fields: dict[str, Any], sealed: Sequence[StoredImage]
) -> generations.Submission:
    model: ImageModel = fields["model"]
    width, height = fields["size"]
    return generations.Submission(
        account_id=account_id,
        kind=Kind.EDIT if sealed else Kind.CREATE,
        model=model.name,
        prompt=fields["prompt"],
        # The seed is the generation's, so that a second attempt makes the same picture.
        parameters={"width": width, "height": height, "seed": secrets.randbits(32)},
        quote_micros=model.price.quote_micros(width=width, height=height, source_count=len(sealed)),
        sources=sealed,
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
        mime_type="application/octet-stream",
        bound_to=f"account {account_id} source",
        expires_at=timezone.now() + _SOURCE_LIFE,
    )
