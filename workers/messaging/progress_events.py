"""Progress of running generations over Redis: messages for those who watch now, and the last step for a while.

A message has steps by generation id, as [done, total], or the index of a partial image, as {"partial": index}.

Progress is optional. A lost message costs an event of a stream, and nothing else.
"""

import logging
from collections.abc import Mapping
from typing import Final, NamedTuple

import orjson

from workers.messaging import redis_client

log = logging.getLogger(__name__)

# No attempt lasts longer between two steps without its device counting as hanging.
MEMORY_SECONDS: Final = 600
_LAST: Final = "zekron:progress:"


class Step(NamedTuple):
    """The number of steps that are done, and of all steps."""

    done: int
    total: int


class NewPartial(NamedTuple):
    """The number of a partial image that can be read now, from 0."""

    number: int


def channel() -> str:
    """Return the channel's name. It contains the number of the database, because pub/sub ignores that number."""
    number = redis_client.connection().connection_pool.connection_kwargs.get("db", 0)
    return f"zekron:{number}:progress"


def publish(*, steps: Mapping[int, Step]) -> None:
    """Publish the latest steps by generation id in one message. The function never raises for an unavailable Redis."""
    message = orjson.dumps({str(generation_id): list(step) for generation_id, step in steps.items()})
    try:
        with (
            redis_client.connection_or_unavailable() as connection,
            connection.pipeline(transaction=False) as pipe,
        ):
            pipe.publish(channel(), message)
            for generation_id, step in steps.items():
                pipe.set(f"{_LAST}{generation_id}", orjson.dumps(list(step)), ex=MEMORY_SECONDS)
            pipe.execute()
    except redis_client.RedisUnavailable as error:
        log.debug("could not publish the progress of %d generations: %s", len(steps), error)


def partial_message(generation_id: int, index: int) -> bytes:
    """Return the message that the generation has a partial image with this index."""
    return orjson.dumps({str(generation_id): {"partial": index}})


def parse(message: bytes) -> dict[int, Step | NewPartial]:
    """Return the news of a message by generation id. Raise ValueError for a message of another form."""
    told = orjson.loads(message)
    if not isinstance(told, dict):
        raise ValueError("a progress event is no object")
    return {_whole(int(name)): _news(value) for name, value in told.items()}


def read(*, generation_id: int) -> Step | None:
    """Return the last step that a worker published of the generation, or None. It never raises for Redis."""
    try:
        with redis_client.connection_or_unavailable() as connection:
            told = connection.get(f"{_LAST}{generation_id}")
        return _step(orjson.loads(told)) if isinstance(told, bytes) else None
    except (redis_client.RedisUnavailable, ValueError) as error:
        log.debug("could not read the progress of generation %d: %s", generation_id, error)
        return None


def _news(value: object) -> Step | NewPartial:
    if isinstance(value, dict) and value.keys() == {"partial"}:
        return NewPartial(_whole(value["partial"]))
    return _step(value)


def _step(value: object) -> Step:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("a step has two numbers")
    done, total = map(_whole, value)
    if not 0 <= done <= total or not total:
        raise ValueError("a step is not within its steps")
    return Step(done, total)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a step or an id is no whole number")
    return value
