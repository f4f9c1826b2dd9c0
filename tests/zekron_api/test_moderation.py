"""The operator's hook: what it refuses is free and typed, and a hook that fails lets nothing through."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pytest_django import Settings

from billing.audit import audit
from examples import moderation as example
from tests import factories
from tests.assertions import refusal
from tests.images import picture
from tests.zekron_api.callers import Caller
from workers import moderation
from workers.engine.interface import Preview
from workers.gpu_worker import previews
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hook(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Name a module of the operator, which has no function yet."""
    settings.MODERATION = "hook_of_the_test"
    module = ModuleType(settings.MODERATION)
    monkeypatch.setitem(sys.modules, settings.MODERATION, module)
    moderation._find.cache_clear()
    yield module
    moderation._find.cache_clear()


def fail(**_: Any) -> None:
    raise RuntimeError("the secret prompt")


def test_a_refused_request_is_typed_free_and_never_accepted(
    me: Caller, idle_worker: None, hook: Any, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Any] = []

    def check(**what: Any) -> str:
        asked.append(what)
        return "violence"

    hook.check_request = check
    image = {"data": picture()}
    response = me.generate(prompt="a secret boat", images=[image])
    assert refusal(response) == (400, "content_policy_violation")
    assert asked[0]["prompt"] == "a secret boat"
    assert asked[0]["images"][0].startswith(b"\x89PNG")
    assert not Generation.objects.exists()
    assert "refused: violence" in caplog.text
    assert "secret" not in caplog.text


def test_a_refused_picture_is_free_at_the_first_attempt(
    me: Caller, engine: factories.StandInEngine, hook: Any
) -> None:
    shapes: list[Any] = []

    def check(*, picture: Any) -> str:
        shapes.append((picture.shape, picture.dtype))
        return "sexual"

    hook.check_picture = check
    response = me.generate()
    assert refusal(response) == (400, "content_policy_violation")
    assert (shapes, len(engine.orders)) == ([((512, 512, 3), np.uint8)], 1)
    row = Generation.objects.get()
    assert (row.status, row.image_id, row.error_detail) == (
        Status.FAILED,
        None,
        "its picture was refused: sexual",
    )
    told = me.get(f"/v1/generations/{row.pk}").json()["data"]["error"]
    assert (told["type"], told["code"]) == ("content_policy_violation", response.json()["error"]["code"])
    me.account.refresh_from_db()
    assert (me.account.balance_micros, me.account.reserved_micros) == (10_000_000, 0)
    assert list(audit()) == []


def test_of_several_pictures_only_the_refused_one_is_missing(
    me: Caller, engine: factories.StandInEngine, hook: Any
) -> None:
    answers = iter(["sexual", None])
    hook.check_picture = lambda *, picture: next(answers)
    data = me.generate(n=2).json()["data"]
    assert (len(data["images"]), data["failed"]) == (1, 1)


def test_a_partial_image_of_what_is_refused_is_not_rendered_for_its_client(hook: Any) -> None:
    hook.check_picture = lambda *, picture: "sexual"
    preview = Preview(0, 1, lambda: np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(moderation.ContentRefused):
        previews.encode(preview)


@pytest.mark.parametrize("fails_open", [False, True])
def test_a_hook_that_fails_decides_as_the_operator_chose(
    me: Caller,
    engine: factories.StandInEngine,
    hook: Any,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    fails_open: bool,
) -> None:
    settings.MODERATION_FAILS_OPEN = fails_open
    hook.check_request = fail
    response = me.generate()
    if fails_open:
        assert response.status_code == 200
    else:
        assert refusal(response) == (503, "service_unavailable")
        assert not Generation.objects.exists()
    assert "the moderation hook check_request failed: RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_a_picture_is_not_delivered_while_its_hook_fails(hook: Any) -> None:
    hook.check_picture = fail
    with pytest.raises(moderation.ModerationFailed):
        moderation.refuse_picture(picture=None)


@pytest.mark.parametrize("category", ["", "A prompt with spaces", "x" * 65, 7, True])
def test_a_category_that_may_be_a_text_of_the_client_is_not_kept(hook: Any, category: Any) -> None:
    hook.check_request = lambda **_: category
    with pytest.raises(moderation.ContentRefused) as refused:
        moderation.refuse_request(prompt="x", images=[])
    assert refused.value.category == "unnamed"


def test_a_module_without_functions_refuses_nothing(hook: Any) -> None:
    moderation.refuse_request(prompt="x", images=[])
    moderation.refuse_picture(picture=None)


def test_the_example_refuses_whole_words_alone() -> None:
    assert example.check_request(prompt="A NUDE on a rock", images=[]) == "sexual"
    assert example.check_request(prompt="A denuded rock", images=[]) is None
