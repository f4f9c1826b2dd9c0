"""Metrics for an autoscaler: a service without a worker shows that it is wanted."""

from collections.abc import Iterable

import pytest
from prometheus_client.core import Metric
from pytest_django import Settings

from tests.assertions import refusal
from tests.zekron_api import callers
from tests.zekron_api.callers import Caller
from workers.catalogue import DEFAULT_MODEL, catalogue
from workers.lifecycle.admission import FIRST_GUESS_SECONDS
from workers.messaging import worker_registry
from zekron_api.ops import prometheus, work_metrics

pytestmark = pytest.mark.django_db(transaction=True)


def _values(families: Iterable[Metric]) -> list[tuple[str, dict[str, str], float]]:
    return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


def test_what_is_refused_without_a_worker_is_demand_and_work(me: Caller) -> None:
    model = {"model": "zekron-image-1"}
    assert _values(work_metrics.read_demand()) == [("zekron_demand_images", model, 0)]
    assert refusal(me.generate(n=2)) == (503, "service_busy")
    assert _values(work_metrics.read_demand()) == [("zekron_demand_images", model, 2)]
    assert _values(work_metrics.read_work()) == [
        ("zekron_queue_work_seconds", model, 2 * FIRST_GUESS_SECONDS)
    ]


@pytest.mark.parametrize(("missing_micros", "demanded"), [(100, 0), (0, 2)])
def test_what_an_account_cannot_pay_for_is_no_demand(missing_micros: int, demanded: int) -> None:
    price = catalogue()[DEFAULT_MODEL].price.quote_micros(width=512, height=512, source_count=0)
    poor = callers.caller(balance_micros=2 * price - missing_micros)
    assert refusal(poor.generate(n=2, size="512x512")) == (503, "service_busy")
    assert [value for *_, value in _values(work_metrics.read_demand())] == [demanded]


def test_what_waits_without_a_worker_is_work_and_no_demand(me: Caller) -> None:
    assert me.generate(**{"async": True}).status_code == 202
    assert [value for *_, value in _values(work_metrics.read_demand())] == [0]
    assert [value for *_, value in _values(work_metrics.read_work())] == [FIRST_GUESS_SECONDS]


def test_a_queue_that_is_too_long_for_its_workers_is_no_demand(me: Caller, settings: Settings) -> None:
    settings.SYNC_WAIT_SECONDS = 1
    worker_registry.publish(worker_name="gpu@a", seconds_per_image=40.0)
    assert me.generate(**{"async": True}).status_code == 202
    assert refusal(me.generate()) == (503, "service_busy")
    assert [value for *_, value in _values(work_metrics.read_demand())] == [0]


def test_the_page_has_the_work_once_and_the_demand_once() -> None:
    names = [family.name for family in prometheus.ServiceCollector().collect()]
    assert (names.count("zekron_queue_work_seconds"), names.count("zekron_demand_images")) == (1, 1)


def test_without_redis_the_work_is_absent(settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert list(work_metrics.read_work()) == []
