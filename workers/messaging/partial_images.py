"""Partial images over Redis: sealed for the owner of their generation, kept for a few minutes, and never stored.

The key of each image is wrapped by a master key, so Redis alone opens nothing. Partial images are optional: without
Redis there are none.
"""

import logging
import secrets
from typing import Any, Final, NamedTuple

from storage import envelope, keyring
from storage.a256cbc_hs512 import SealBroken
from workers.messaging import progress_events, redis_client

log = logging.getLogger(__name__)

# The longest time for which a client that connects again finds a partial image.
KEEP_SECONDS: Final = 180
MAX_PARTIAL_IMAGES: Final = 3
# The name of the number of partial images in a request and in the parameters of its generation.
PARAMETER: Final = "partial_images"
MIME_TYPE: Final = "image/png"


class PartialImage(NamedTuple):
    """An encoded partial image: its number from 0, the steps that were done, and its sides in pixels."""

    number: int
    step: int
    width: int
    height: int
    content: bytes


def publish(*, account_id: int, generation_id: int, image: PartialImage) -> None:
    """Seal the image, keep it and announce it. The function never raises for an unavailable Redis."""
    content_key = secrets.token_bytes(envelope.CONTENT_KEY_BYTE_COUNT)
    master_key_id, wrapped_key = keyring.wrap(content_key=content_key)
    sealed = envelope.seal(
        content=image.content,
        content_key=content_key,
        master_key_id=master_key_id,
        associated_data=_associated_data(account_id, generation_id, image),
        mime_type=MIME_TYPE,
    )
    kept: dict[Any, Any] = {
        "master_key_id": master_key_id,
        "wrapped_key": wrapped_key,
        "sealed": sealed,
        "byte_count": len(image.content),
        "step": image.step,
        "width": image.width,
        "height": image.height,
    }
    key = _key(generation_id, image.number)
    try:
        with redis_client.connection_or_unavailable() as connection, connection.pipeline() as pipe:
            # A whole transaction, so that nothing is kept without an end.
            pipe.delete(key)
            pipe.hset(key, mapping=kept)
            pipe.expire(key, KEEP_SECONDS)
            pipe.publish(
                progress_events.channel(), progress_events.partial_message(generation_id, image.number)
            )
            pipe.execute()
    except redis_client.RedisUnavailable as error:
        log.debug("could not publish a partial image of generation %d: %s", generation_id, error)


def read(*, account_id: int, generation_id: int, index: int) -> PartialImage | None:
    """Return the partial image of the account's generation, or None. It never raises for Redis or its content."""
    try:
        with redis_client.connection_or_unavailable() as connection:
            kept: dict[bytes, bytes] = connection.hgetall(_key(generation_id, index))  # type: ignore[assignment]
        return _unseal(account_id, generation_id, index, kept) if kept else None
    except redis_client.RedisUnavailable as error:
        log.debug("could not read a partial image of generation %d: %s", generation_id, error)
    except (SealBroken, keyring.KeyRefused, KeyError, ValueError) as error:
        # Any client of the same Redis may write anything under these keys.
        log.warning("a partial image of generation %d does not open: %r", generation_id, error)
    return None


def forget(*, generation_id: int) -> None:
    """Delete the partial images of a generation. The function never raises for an unavailable Redis."""
    try:
        with redis_client.connection_or_unavailable() as connection:
            connection.delete(*(_key(generation_id, index) for index in range(MAX_PARTIAL_IMAGES)))
    except redis_client.RedisUnavailable as error:
        log.debug("could not delete the partial images of generation %d: %s", generation_id, error)


def _unseal(account_id: int, generation_id: int, index: int, kept: dict[bytes, bytes]) -> PartialImage:
    step, width, height = (int(kept[name]) for name in (b"step", b"width", b"height"))
    image = PartialImage(index, step, width, height, b"")
    content_key = keyring.unwrap(
        master_key_id=kept[b"master_key_id"].decode(), wrapped_key=kept[b"wrapped_key"]
    )
    content = envelope.unseal(
        sealed=kept[b"sealed"],
        content_key=content_key,
        algorithm=envelope.ALGORITHM,
        associated_data=_associated_data(account_id, generation_id, image),
        mime_type=MIME_TYPE,
        byte_count=int(kept[b"byte_count"]),
    )
    return image._replace(content=content)


def _associated_data(account_id: int, generation_id: int, image: PartialImage) -> str:
    facts = f"{image.number} after step {image.step} of {image.width}x{image.height}"
    return f"account {account_id} generation {generation_id} partial image {facts}"


def _key(generation_id: int, index: int) -> str:
    return f"zekron:partial:{generation_id}:{index}"
