"""Partial images over Redis: sealed, only for their owner, and gone after minutes."""

from typing import Any

import pytest
from pytest_django import Settings

from workers.messaging import partial_images, progress_events, redis_client
from workers.messaging.partial_images import PartialImage
from workers.messaging.progress_events import NewPartial

CONTENT = b"\x89PNG\r\n\x1a\n" + b"a picture of a boat" * 40
IMAGE = PartialImage(number=1, step=2, width=256, height=192, content=CONTENT)


def publish(image: PartialImage = IMAGE) -> None:
    partial_images.publish(account_id=3, generation_id=7, image=image)


def everything() -> bytes:
    """Return all that Redis has under the keys of the generation's partial images."""
    redis: Any = redis_client.connection()
    values = [redis.hgetall(key) for key in redis.keys("zekron:partial:7:*")]
    return b"".join(part for value in values for pair in value.items() for part in pair)


def test_its_owner_reads_what_was_published() -> None:
    publish()
    assert partial_images.read(account_id=3, generation_id=7, index=1) == IMAGE
    assert partial_images.read(account_id=3, generation_id=7, index=0) is None


def test_redis_has_no_byte_of_the_picture_and_forgets_it() -> None:
    publish()
    kept = everything()
    assert len(kept) > len(CONTENT)
    for part in (b"PNG", b"IHDR", b"a picture", CONTENT[8:24]):
        assert part not in kept
    assert 0 < redis_client.connection().ttl("zekron:partial:7:1") <= partial_images.KEEP_SECONDS


@pytest.mark.parametrize("reader", [(4, 7), (3, 8)])
def test_nobody_else_opens_it(reader: tuple[int, int]) -> None:
    publish()
    redis: Any = redis_client.connection()
    account_id, generation_id = reader
    if generation_id != 7:
        redis.rename("zekron:partial:7:1", f"zekron:partial:{generation_id}:1")
    assert partial_images.read(account_id=account_id, generation_id=generation_id, index=1) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", "3"),
        ("width", "257"),
        ("height", "x"),
        ("byte_count", "1"),
        ("sealed", b""),
        ("sealed", b"x" * 200),
        ("wrapped_key", b"x" * 40),
        ("wrapped_key", b"x"),
        ("master_key_id", "another"),
        ("master_key_id", b"\xff"),
        ("step", None),
        ("sealed", None),
    ],
)
def test_what_was_changed_in_redis_does_not_open(name: str, value: Any) -> None:
    publish()
    redis: Any = redis_client.connection()
    if value is None:
        redis.hdel("zekron:partial:7:1", name)
    else:
        redis.hset("zekron:partial:7:1", name, value)
    assert partial_images.read(account_id=3, generation_id=7, index=1) is None


def test_it_is_announced_and_can_be_forgotten() -> None:
    redis: Any = redis_client.connection()
    with redis.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(progress_events.channel())
        listener.get_message(timeout=5)
        publish()
        message = listener.get_message(timeout=60)
    assert progress_events.parse(message["data"]) == {7: NewPartial(1)}
    publish(IMAGE._replace(number=2))
    partial_images.forget(generation_id=7)
    assert everything() == b""


def test_without_redis_nothing_is_published_or_read_and_nothing_raised(settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    publish()
    partial_images.forget(generation_id=7)
    assert partial_images.read(account_id=3, generation_id=7, index=1) is None
