"""The page that shows staff which workers live."""

import re
import time

import pytest
from django.test import Client
from pytest_django import Settings

from tests import factories
from tests.billing.admin_client import browser_with, page
from workers.lifecycle import erasure
from workers.messaging import worker_registry
from workers.messaging.redis_client import connection
from workers.models import Generation, Status

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
        models={},
        loading=("zekron-image-1", "big"),
        started_at=time.time() - 125,
        device="cuda:0",
        loading_stage="weights",
        loading_fraction=0.404,
    )
    worker_registry.publish(worker_name="gpu@a", details=loading)
    shown = page(browser_with("view_generation"), WORKERS)
    assert "loading zekron-image-1, big (weights, 40 %) for 2\xa0minutes" in shown
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


def test_the_page_of_a_generation_says_what_its_image_is_beside_the_others_of_its_request() -> None:
    owner, asked = factories.account(), {"width": 512, "height": 512}
    webp = {"output_format": "webp", "output_compression": 80, "masked": True}
    first, second = factories.submit_all(
        owner, parameters=[{**asked, "seed": 71}, {**asked, "seed": 72, **webp}]
    )
    alone = factories.generation_in(Status.COMPLETED, owner)
    erasure.erase(generation_ids=[alone.pk])
    browser = browser_with("view_generation")

    def fields(generation: Generation) -> list[str]:
        shown = page(browser, f"{GENERATIONS}{generation.pk}/change/")
        names = ("group", "seed", "output_format", "has_mask")
        cells = [re.findall(f'field-{name}".*?readonly">(.*?)</div>', shown, re.DOTALL)[0] for name in names]
        return [re.sub('<img.*alt="(.*)">', r"\1", re.sub("</?a.*?>", "", cell)) for cell in cells]

    assert fields(first) == [f"{first.pk}, image 1", "71", "png", "False"]
    assert fields(second) == [f"{first.pk}, image 2", "72", "webp 80", "True"]
    assert fields(alone) == ["alone", "erased", "png", "None"]
    of_group = page(browser, f"{GENERATIONS}?group_id={first.pk}")
    listed = [each for each in (first, second, alone) if f"{GENERATIONS}{each.pk}/change/" in of_group]
    assert listed == [first, second]
    assert f"{GENERATIONS}?group_id={first.pk}" in page(browser, GENERATIONS)
