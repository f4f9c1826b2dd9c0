"""GET /v1/models: the models of the operator's file, in the form that OpenAI's clients read."""

from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from tests.assertions import openai_refusal
from tests.zekron_api.callers import Caller

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def two_models(tmp_path: Path, settings: Settings) -> Path:
    """Write a models file with the default model, and a dearer one of a single step that takes no images."""
    own = Path(settings.BASE_DIR, "models.toml").read_text()
    words = own.replace("zekron-image-1", "words").replace("dtype =", "sources = 0\ndtype =")
    words = words.replace("steps = 6", "steps = 1")
    path = tmp_path / "models.toml"
    path.write_text(own + words.replace('base = "0.0250"', 'base = "0.0280"'))
    settings.MODELS_FILE = path
    return path


def test_every_model_is_listed_with_its_abilities_and_prices(me: Caller, two_models: Path) -> None:
    response = me.get("/v1/models")
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"object", "data"}
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == ["zekron-image-1", "words"]
    for model in body["data"]:
        assert set(model) == {"id", "object", "created", "owned_by", "zekron"}
        assert (model["object"], model["owned_by"]) == ("model", "zekron")
        assert model["created"] == int(two_models.stat().st_mtime)
    ours, words = (model["zekron"] for model in body["data"])
    assert (ours["default"], words["default"]) == (True, False)
    assert (ours["types"], words["types"]) == (["create", "edit"], ["create"])
    assert (ours["max_source_images"], words["max_source_images"]) == (2, 0)
    assert (ours["partial_images"], words["partial_images"]) == (True, False)
    assert ours["sizes"] == ["512x512", "1024x1024", "1024x768", "768x1024"]
    assert (ours["max_prompt_characters"], ours["max_prompt_tokens"]) == (4000, 47)
    assert ours["formats"] == ["image/png", "image/jpeg", "image/webp"]
    assert ours["price"] == {
        "currency": "USD",
        "base": "0.0250",
        "per_megapixel": "0.0017",
        "per_source_image": "0.0004",
        "least": "0.0250",
        "most": "0.0290",
    }
    assert words["price"]["base"] == "0.0280"


def test_each_listed_price_is_the_price_of_a_quote(me: Caller, two_models: Path) -> None:
    for model in me.get("/v1/models").json()["data"]:
        prices = model["zekron"]["prices"]
        assert len(prices) == 4 * (model["zekron"]["max_source_images"] + 1)
        for price in prices:
            body = {
                "prompt": "x",
                "model": model["id"],
                "size": price["size"],
                "images": price["source_images"],
            }
            assert me.post("/v1/quote", body).json()["data"]["cost"] == price["cost"]


def test_one_model_is_what_the_list_says_of_it(me: Caller, two_models: Path) -> None:
    for model in me.get("/v1/models").json()["data"]:
        assert me.get(f"/v1/models/{model['id']}").json() == model


@pytest.mark.parametrize("name", ["gpt-image-1", "Zekron-image-1", "zekron-image-1%20", "x" * 300, "%00"])
def test_an_unknown_model_is_404_in_the_envelope(me: Caller, name: str) -> None:
    assert openai_refusal(me.get(f"/v1/models/{name}")) == (404, "model_not_found")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/zekron-image-1"])
def test_the_models_need_a_key_and_count_as_a_request(me: Caller, path: str) -> None:
    assert openai_refusal(Client().get(path)) == (401, "invalid_api_key")
    assert me.get(path)["X-RateLimit-Remaining"] == "59"
    assert openai_refusal(me.post(path, {})) == (405, "method_not_allowed")
