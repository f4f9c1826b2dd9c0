"""The fields that say more of a picture: each is honoured, or refused by name."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from tests import factories
from tests.assertions import refusal
from tests.zekron_api.callers import Caller
from workers.models import Generation

pytestmark = pytest.mark.django_db(transaction=True)


NO_NUMBERS: list[Any] = ["4", 1.5, True, [1]]
NO_BACKGROUNDS: list[Any] = ["red", {}]
NO_METADATA: list[Any] = ["a", [], {"a": 1}, {"a": None}, {"": "a"}]


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        *(("seed", value, "invalid_parameter") for value in (-1, 2**32, *NO_NUMBERS)),
        *(("n", value, "invalid_parameter") for value in (0, -1, 5, 11, *NO_NUMBERS)),
        *(("expires_in", value, "invalid_parameter") for value in (59, 86_401, "60", True)),
        *(("quality", value, "invalid_parameter") for value in ("best", 1, True)),
        *(("background", value, "invalid_parameter") for value in NO_BACKGROUNDS),
        ("background", "transparent", "unsupported_parameter"),
        ("negative_prompt", "rain", "unsupported_parameter"),
        *(("negative_prompt", value, "invalid_parameter") for value in (1, "x" * 4001, "a\0b", "\ud800")),
        *(("metadata", value, "invalid_parameter") for value in NO_METADATA),
        ("metadata", {"x" * 65: "a"}, "invalid_parameter"),
        ("metadata", {"a": "x" * 513}, "invalid_parameter"),
        ("metadata", {"a": "\0"}, "invalid_parameter"),
        ("metadata", {"\ud800": "a"}, "invalid_parameter"),
        ("metadata", {str(number): "a" for number in range(17)}, "invalid_parameter"),
    ],
)
def test_a_value_that_cannot_be_honoured_is_refused_by_name(
    me: Caller, idle_worker: None, field: str, value: Any, kind: str
) -> None:
    response = me.generate(**{field: value})
    assert refusal(response) == (400, kind)
    assert field in response.json()["error"]["message"]
    assert not Generation.objects.exists()


def test_a_seed_is_refused_by_name_for_a_model_whose_server_takes_none(
    me: Caller, tmp_path: Path, settings: Settings
) -> None:
    own = Path(settings.BASE_DIR, "models.toml").read_text()
    far = own.replace("[zekron-image-1", "[far").replace('"flux2-klein"', '"remote"')
    settings.MODELS_FILE = tmp_path / "models.toml"
    settings.MODELS_FILE.write_text(own + far.replace("[far.options]", '[far.options]\nomit = ["seed"]'))
    response = me.generate(model="far", seed=7, **{"async": True})
    assert refusal(response) == (400, "unsupported_parameter")
    assert response.json()["error"]["message"] == "The model far takes no seed. Leave seed out."
    assert me.generate(model="far", **{"async": True}).status_code == 202


@pytest.mark.parametrize(
    "body",
    [
        {"seed": 0, "quality": "low", "background": "opaque", "n": 1.0},
        {"seed": 2**32 - 1, "quality": "auto", "background": "auto", "negative_prompt": "", "metadata": {}},
        dict.fromkeys(["seed", "n", "quality", "background", "negative_prompt", "metadata", "expires_in"]),
    ],
)
def test_values_that_every_model_honours(
    me: Caller, engine: factories.StandInEngine, body: dict[str, Any]
) -> None:
    made = me.generate(**body).json()["data"]
    assert made["quality"] == "high"
    [order] = engine.orders
    assert made["seed"] == order.seed
    assert body["seed"] in (None, made["seed"])


def test_metadata_is_repeated_and_cannot_disturb_the_reply(
    me: Caller, engine: factories.StandInEngine
) -> None:
    kept = {"order": "7", "b64_json": "", "image": '","b64_json":"', "é": "x" * 512, "x" * 64: ""}
    made = me.generate(metadata=kept).json()["data"]
    assert made["metadata"] == kept
    assert len(made["image"]["b64_json"]) > 100
    [row] = me.get("/v1/generations").json()["data"]["generations"]
    assert (row["metadata"], row["seed"]) == (kept, made["seed"])
    one = me.get(f"/v1/generations/{made['id']}?include=b64_json").json()["data"]
    assert one["metadata"] == kept
    assert one["image"]["b64_json"] == made["image"]["b64_json"]
    me.delete(f"/v1/generations/{made['id']}")
    erased = me.get(f"/v1/generations/{made['id']}").json()["data"]
    assert (erased["metadata"], erased["seed"]) == ({}, None)


def test_an_image_expires_as_early_as_its_client_asks(me: Caller, engine: factories.StandInEngine) -> None:
    made = me.generate(expires_in=60).json()["data"]
    row = Generation.objects.select_related("image").get()
    assert row.ended_at is not None
    assert row.expires_at is not None
    assert row.image is not None
    assert (row.expires_at - row.ended_at).total_seconds() == 60
    assert row.image.expires_at == row.expires_at
    assert datetime.fromisoformat(made["image"]["expires_at"]) == row.expires_at.replace(microsecond=0)


def test_the_same_seed_is_the_same_order(me: Caller, engine: factories.StandInEngine) -> None:
    for _ in range(2):
        assert me.generate(seed=7).json()["data"]["seed"] == 7
    first, second = engine.orders
    assert first == second


@pytest.mark.parametrize("more", [{"seed": 1}, {"n": 2}, {"metadata": {"a": "b"}}, {"expires_in": 60}])
def test_a_field_is_part_of_what_an_idempotency_key_stands_for(
    me: Caller, engine: factories.StandInEngine, more: dict[str, Any]
) -> None:
    key, body = {"Idempotency-Key": "k"}, {"prompt": "a boat", "size": "512x512"}
    assert me.post("/v1/generate", {**body, **more}, **key).status_code == 200
    assert me.post("/v1/generate", {**body, **more}, **key)["Idempotent-Replayed"] == "true"
    assert refusal(me.post("/v1/generate", body, **key)) == (422, "idempotency_mismatch")
