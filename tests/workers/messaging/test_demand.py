"""Demand without a worker: what was refused of late is remembered for two minutes, and then forgotten."""

import pytest

from workers.messaging import demand
from workers.messaging.redis_client import connection

NOW = 1_000_000.0


@pytest.fixture(autouse=True)
def nothing_wanted() -> None:
    connection().flushdb()


def test_images_are_counted_by_model() -> None:
    demand.note(model_name="a", image_count=1, now=NOW)
    demand.note(model_name="a", image_count=3, now=NOW + demand.SLOT_SECONDS)
    demand.note(model_name="b", image_count=2, now=NOW)
    assert demand.read(now=NOW + demand.SLOT_SECONDS) == {"a": 4, "b": 2}


@pytest.mark.parametrize(("seconds", "is_remembered"), [(0, True), (119, True), (151, False)])
def test_demand_is_forgotten_after_two_minutes(seconds: int, is_remembered: bool) -> None:
    demand.note(model_name="a", image_count=1, now=NOW)
    assert demand.read(now=NOW + seconds) == ({"a": 1} if is_remembered else {})


def test_redis_keeps_no_count_for_ever() -> None:
    demand.note(model_name="a", image_count=1)
    [key] = connection().keys("zekron:demand:*")
    assert 0 < connection().ttl(key) <= demand.SLOT_SECONDS * (demand.SLOT_COUNT + 1)
