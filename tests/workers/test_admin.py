"""The page that shows staff which workers live."""

import time

import pytest
from django.test import Client
from pytest_django import Settings

from tests.billing.admin_client import browser_with, page
from workers.messaging import worker_registry
from workers.messaging.redis_client import connection

pytestmark = pytest.mark.django_db
GENERATIONS = "/admin/workers/generation/"
WORKERS = f"{GENERATIONS}workers/"


@pytest.fixture(autouse=True)
def nobody_there() -> None:
    connection().flushdb()


def test_each_worker_is_shown_with_what_it_says_of_itself() -> None:
    details = worker_registry.Details(
        models={"zekron-image-1": 1.256, "big": None},
        queues=["gpu", "large"],
        device="NVIDIA H200 (cuda:0)",
        busy_fraction=0.973,
        attempt_count=3,
        claimed_at=time.time() - 125,
        code="0123abcd",
    )
    worker_registry.publish(worker_name="gpu@a", seconds_per_image=1.256, details=details)
    worker_registry.publish(worker_name="gpu@old")
    browser = browser_with("view_generation")
    shown = page(browser, WORKERS)
    for text in (
        "gpu@a",
        "gpu@old",
        "NVIDIA H200 (cuda:0)",
        "zekron-image-1: 1.26<br>big: none made yet",
        "gpu, large",
        "97 %",
        "<td>3</td>",
        "2\xa0minutes ago",
        "0123abcd",
    ):
        assert text in shown
    assert "Not all workers run the same code." not in shown
    assert f'href="{WORKERS}"' in page(browser, GENERATIONS)


def test_a_worker_that_loads_is_shown_with_the_time_that_it_has_taken() -> None:
    loading = worker_registry.Details(
        models={}, loading=("zekron-image-1", "big"), started_at=time.time() - 125, device="cuda:0"
    )
    worker_registry.publish(worker_name="gpu@a", details=loading)
    shown = page(browser_with("view_generation"), WORKERS)
    assert "loading zekron-image-1, big for 2\xa0minutes" in shown
    assert "No worker is running." not in shown


def test_workers_of_different_code_are_told_apart() -> None:
    for name, code in (("a", "0123abcd"), ("b", "89abcdef")):
        worker_registry.publish(worker_name=name, details=worker_registry.Details(models={}, code=code))
    assert "Not all workers run the same code." in page(browser_with("view_generation"), WORKERS)


def test_without_a_worker_or_without_redis_the_page_says_so(settings: Settings) -> None:
    browser = browser_with("view_generation")
    assert "No worker is running." in page(browser, WORKERS)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert "Redis is away" in page(browser, WORKERS)


def test_what_a_worker_says_is_text_and_no_markup() -> None:
    worker_registry.publish(
        worker_name="<b>gpu", details=worker_registry.Details(models={"<i>": 1.0}, device="<script>")
    )
    shown = page(browser_with("view_generation"), WORKERS)
    assert "&lt;b&gt;gpu" in shown
    assert "<i>" not in shown
    assert "<script>" not in shown.split("<table>")[1]


def test_staff_without_the_permission_and_strangers_see_nothing() -> None:
    worker_registry.publish(worker_name="gpu@a")
    page(browser_with("view_account"), WORKERS, status=403)
    assert Client().get(WORKERS).status_code == 302
