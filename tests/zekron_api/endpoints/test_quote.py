"""POST /v1/quote: the price that POST /v1/generate holds, and nothing else happens."""

import itertools
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from billing.models import LedgerEntry, Reservation
from billing.money import format_usd
from storage.models import StoredImage
from tests import factories
from tests.assertions import refusal
from tests.images import picture
from tests.zekron_api.callers import Caller, caller
from workers.messaging import worker_registry
from workers.models import Generation
from zekron_api.endpoints.sizes import SIZES

pytestmark = pytest.mark.django_db(transaction=True)
IMAGE = {"data": picture()}


def quoted(me: Caller, **body: Any) -> Any:
    response = me.post("/v1/quote", {"prompt": "a boat", **body})
    assert response.status_code == 200, response.content
    return response.json()["data"]


def test_a_quote_says_what_a_request_costs_and_whether_it_can_be_paid(me: Caller) -> None:
    worker_registry.publish(worker_name="gpu@a", seconds_per_image=2.5)
    assert quoted(me, images=1) == {
        "cost": "0.0271",
        "currency": "USD",
        "breakdown": [
            {"what": "base", "amount": "0.0250"},
            {"what": "size", "amount": "0.0017"},
            {"what": "source_images", "amount": "0.0004"},
        ],
        "n": 1,
        "resolved_size": "1024x1024",
        "available": "10.0000",
        "affordable": True,
        "estimated_wait_seconds": 0,
    }


@pytest.mark.parametrize(("balance_micros", "is_affordable"), [(26_700, True), (26_600, False)])
def test_a_quote_is_affordable_up_to_the_last_micro(balance_micros: int, is_affordable: bool) -> None:
    data = quoted(caller(balance_micros=balance_micros))
    assert (data["cost"], data["affordable"]) == ("0.0267", is_affordable)


def test_what_other_generations_hold_is_not_available(me: Caller) -> None:
    factories.submit(me.account, quote_micros=9_980_000)
    data = quoted(me)
    assert (data["available"], data["affordable"]) == ("0.0200", False)


def test_the_estimated_wait_is_the_number_that_decides_over_service_busy(
    me: Caller, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.messaging.enqueue.send", lambda *, generation_id: None)
    assert quoted(me)["estimated_wait_seconds"] is None
    worker_registry.publish(worker_name="gpu@a", seconds_per_image=2.5)
    for _ in range(3):
        factories.submit(me.account, now=datetime.now(UTC))
    # Three images of 2.5 seconds.
    assert quoted(me)["estimated_wait_seconds"] == 8
    settings.SYNC_WAIT_SECONDS = 7
    refused = me.generate()
    assert refusal(refused) == (503, "service_busy")
    assert refused["Retry-After"] == "1"
    assert quoted(me)["estimated_wait_seconds"] == 8


def test_without_redis_the_wait_is_unknown(me: Caller, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert quoted(me)["estimated_wait_seconds"] is None


def test_a_quote_holds_and_stores_nothing(me: Caller, objects_folder: Path) -> None:
    before = (LedgerEntry.objects.count(), Reservation.objects.count())
    quoted(me, images=[IMAGE, IMAGE])
    assert (LedgerEntry.objects.count(), Reservation.objects.count()) == before
    assert not Generation.objects.exists()
    assert not StoredImage.objects.exists()
    assert not list(objects_folder.rglob("*"))
    me.account.refresh_from_db()
    assert me.account.reserved_micros == 0


def test_a_quote_counts_as_a_request_and_not_as_an_open_generation(me: Caller, settings: Settings) -> None:
    settings.OPEN_GENERATIONS_LIMIT = 0
    left = [me.post("/v1/quote", {"prompt": "x"})["X-RateLimit-Remaining"] for _ in range(60)]
    assert (left[0], left[-1]) == ("59", "0")
    assert refusal(me.post("/v1/quote", {"prompt": "x"})) == (429, "rate_limit_exceeded")
    assert refusal(me.get("/v1/balance")) == (429, "rate_limit_exceeded")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prompt": " "},
        {"prompt": "x" * 4001},
        {"prompt": "x", "size": "1x1"},
        {"prompt": "x", "model": "x"},
        {"prompt": "x", "images": [{}]},
        {"prompt": "x", "images": [{"data": "AAAA"}]},
        {"prompt": "x", "images": [IMAGE] * 3},
        {"prompt": "x", "images": "2"},
        {"prompt": "x", "images": True},
        {"prompt": "x", "n": 5},
        {"prompt": "x", "size": "1024x1000"},
        {"prompt": "x", "negative_prompt": "rain"},
        {"prompt": "x", "image": "AAAA"},
        {"prompt": "x", "Mask": "AAAA"},
    ],
)
def test_a_body_that_generate_refuses_is_refused_in_the_same_words(me: Caller, body: Any) -> None:
    quote, generate = me.post("/v1/quote", body), me.post("/v1/generate", body)
    assert refusal(quote) == refusal(generate)
    assert quote.json()["error"]["message"] == generate.json()["error"]["message"]
    assert quote.status_code == 400


@pytest.mark.parametrize(
    ("count", "error_type"),
    [
        (3, "too_many_images"),
        (10**400, "too_many_images"),
        (-1, "invalid_parameter"),
        (1.5, "invalid_parameter"),
    ],
)
def test_a_number_of_images_that_no_request_has_is_refused(me: Caller, count: Any, error_type: str) -> None:
    assert refusal(me.post("/v1/quote", {"prompt": "x", "images": count})) == (400, error_type)


@pytest.mark.parametrize(("one", "other"), [(0, []), (0, None), (1, [IMAGE]), (2.0, [IMAGE, IMAGE])])
def test_a_number_of_images_costs_as_much_as_the_images(me: Caller, one: Any, other: Any) -> None:
    assert quoted(me, images=one) == quoted(me, images=other)


def test_a_model_that_takes_no_images_refuses_their_number(
    me: Caller, settings: Settings, tmp_path: Path
) -> None:
    own = Path(settings.BASE_DIR, "models.toml").read_text()
    settings.MODELS_FILE = tmp_path / "models.toml"
    settings.MODELS_FILE.write_text(own.replace("dtype =", "sources = 0\ndtype ="))
    assert refusal(me.post("/v1/quote", {"prompt": "x", "images": 1})) == (400, "too_many_images")


_names = itertools.count()
_amounts = st.integers(min_value=0, max_value=400).map(lambda steps: format_usd(100 * steps))


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rule=st.fixed_dictionaries({"base": _amounts, "per_megapixel": _amounts, "per_source_image": _amounts}),
    bounds=st.tuples(_amounts, _amounts).map(sorted).filter(lambda pair: pair[0] != "0.0000"),
    size=st.sampled_from([None, *SIZES, "auto", "1536x1536", "1536x1024", "256x256", "2048x688"]),
    image_count=st.integers(0, 2),
    n=st.integers(1, 3),
    is_counted=st.booleans(),
)
def test_a_quote_is_what_is_held_and_what_is_settled(
    *,
    me: Caller,
    engine: factories.StandInEngine,
    settings: Settings,
    tmp_path: Path,
    rule: dict[str, str],
    bounds: list[str],
    size: str | None,
    image_count: int,
    n: int,
    is_counted: bool,
) -> None:
    settings.REQUESTS_PER_MINUTE = 10**6
    settings.MODELS_FILE = _with_price(tmp_path, {**rule, "least": bounds[0], "most": bounds[1]})
    # On another clock's second the wait may be another one, and it is no part of what is compared.
    body = {"size": size, "images": [IMAGE] * image_count, "n": n}
    counts = is_counted and size != "auto"
    quote = quoted(me, **{**body, "images": image_count} if counts else body)
    made = me.post("/v1/generate", {"prompt": "a boat", **body}).json()["data"]
    rows = Generation.objects.select_related("reservation").filter(pk__gte=made["id"])
    assert len(rows) == n
    for row in rows:
        paid = [
            row.quote_micros,
            row.cost_micros,
            row.reservation.quote_micros,
            row.reservation.settled_micros,
        ]
        assert {format_usd(micros) for micros in paid} == {made["cost"]}
    assert Decimal(quote["cost"]) == n * Decimal(made["cost"])
    assert made.get("total_cost", made["cost"]) == quote["cost"]
    assert sum(Decimal(line["amount"]) for line in quote["breakdown"]) == Decimal(quote["cost"])
    assert (quote["resolved_size"], quote["affordable"]) == (made["size"], True)


def _with_price(folder: Path, price: dict[str, str]) -> Path:
    """Write the project's models with another price into a new file, because each file is read once."""
    own = Path(factories.__file__).parents[1].joinpath("models.toml").read_text()
    before, mark, _ = own.partition("[zekron-image-1.price]\n")
    path = folder / f"{next(_names)}.toml"
    path.write_text(before + mark + "".join(f'{name} = "{amount}"\n' for name, amount in price.items()))
    return path
