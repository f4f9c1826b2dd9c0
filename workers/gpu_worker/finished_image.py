"""The file of a finished picture: encoded in its request's format, marked as generated, and stored under a key."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from django.utils import timezone

from storage import images
from storage.models import StoredImage
from workers.engine.interface import Picture
from workers.gpu_worker import marking
from workers.imaging import encoders
from workers.imaging.encoders import Encoding
from workers.lifecycle import attempt_statements, made_pictures
from workers.lifecycle.made_pictures import Mark
from workers.models import Generation


class FinishedImage(NamedTuple):
    """A file, its media type, and its mark."""

    content: bytes
    mime_type: str
    mark: Mark


def encode(
    picture: Picture, *, generation: Generation, source_manifests: Sequence[bytes] = ()
) -> FinishedImage:
    """Return the picture as a file. Equal pictures and parameters give equal bytes, unless it is signed.

    `source_manifests` are those of an edit's source images, for `marking.sign`.
    """
    encoding = Encoding.of(generation.parameters)
    content = encoders.encode(picture, encoding, xmp=marking.xmp_packet(generation))
    # Who gets a lossy file has other pixels than the engine made.
    delivered = picture if encoding.is_lossless else encoders.decode(content)
    mark = Mark(marking.provenance(), made_pictures.digest_of(delivered))
    mime_type = encoding.format.mime_type
    signed = marking.sign(
        content, mime_type=mime_type, generation=generation, source_manifests=source_manifests
    )
    return FinishedImage(signed, mime_type, mark)


def store(finished: FinishedImage, *, generation: Generation) -> StoredImage:
    """Seal the file for its generation, store it, and return its unsaved row."""
    return images.put(
        content=finished.content,
        mime_type=finished.mime_type,
        associated_data=f"account {generation.account_id} generation {generation.pk}",
        expires_at=timezone.now()
        + attempt_statements.life_of(generation)
        + timedelta(seconds=attempt_statements.LEASE_SECONDS),
    )
