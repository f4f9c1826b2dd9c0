"""Progress over Redis: what is published is read, and what anyone else publishes is refused."""

import pytest
from pytest_django import Settings

from workers.messaging import progress_events, redis_client
from workers.messaging.progress_events import Step


def test_the_last_step_is_kept_for_those_who_come_later() -> None:
    progress_events.publish(steps={7: Step(1, 4), 8: Step(2, 6)})
    progress_events.publish(steps={7: Step(2, 4)})
    assert progress_events.read(generation_id=7) == (2, 4)
    assert progress_events.read(generation_id=8) == (2, 6)
    assert progress_events.read(generation_id=9) is None
    assert 0 < redis_client.connection().ttl("zekron:progress:7") <= progress_events.MEMORY_SECONDS


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"x",
        b"[]",
        b"7",
        b'{"x": [1, 4]}',
        b'{"7": 1}',
        b'{"7": [1]}',
        b'{"7": [1, 4, 5]}',
        b'{"7": ["1", 4]}',
        b'{"7": [true, 4]}',
        b'{"7": [1.5, 4]}',
        b'{"7": [5, 4]}',
        b'{"7": [-1, 4]}',
        b'{"7": [0, 0]}',
        b'{"7": [NaN, 4]}',
        b"\xff\xfe",
    ],
)
def test_a_message_of_another_form_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (every message of it is for the log)
        progress_events.parse(message)
    redis_client.connection().set("zekron:progress:7", message)
    assert progress_events.read(generation_id=7) is None


def test_without_redis_nothing_is_published_or_read_and_nothing_raised(settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    progress_events.publish(steps={7: Step(1, 4)})
    assert progress_events.read(generation_id=7) is None
