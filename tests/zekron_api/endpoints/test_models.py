"""Several models behind one API: each takes as many source images as its entry says."""

from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from tests import factories
from tests.assertions import refusal
from tests.images import picture
from tests.zekron_api.callers import Caller
from workers.models import Generation

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def models_file(tmp_path: Path, settings: Settings) -> Path:
    """Write a models file with the default model and two more: `words`, which takes no images, and `one`."""
    own = Path(settings.BASE_DIR, "models.toml").read_text()
    path = tmp_path / "models.toml"
    path.write_text(own + _named(own, "words", sources=0) + _named(own, "one", sources=1, queue="large"))
    settings.MODELS_FILE = path
    return path


def _named(entry: str, name: str, **fields: Any) -> str:
    """Return the project's own entry under another name, with these fields."""
    lines = "".join(f"{field} = {value!r}\n" for field, value in fields.items())
    return "\n" + entry.replace("zekron-image-1", name).replace("dtype =", f"{lines}dtype =")


@pytest.mark.parametrize(
    ("model", "count", "message"),
    [
        (
            "words",
            1,
            "images has 1 item; the model words takes none, because it makes images from text alone.",
        ),
        ("one", 2, "images has 2 items; the model one takes at most 1."),
    ],
)
def test_more_sources_than_the_model_takes_are_refused_and_nothing_is_held(
    me: Caller, idle_worker: None, models_file: Path, model: str, count: int, message: str
) -> None:
    response = me.generate(model=model, images=[{"data": picture()}] * count)
    assert refusal(response) == (400, "too_many_images")
    assert response.json()["error"]["message"] == message
    assert not Generation.objects.exists()
    me.account.refresh_from_db()
    assert me.account.reserved_micros == 0


@pytest.mark.parametrize(("model", "count"), [("words", 0), ("one", 0), ("one", 1), ("zekron-image-1", 2)])
def test_as_many_sources_as_the_model_takes_are_accepted(
    me: Caller, engine: factories.StandInEngine, models_file: Path, model: str, count: int
) -> None:
    response = me.generate(model=model, images=[{"data": picture()}] * count)
    assert response.status_code == 200
    assert response.json()["data"]["model"] == model
    assert [len(order.sources) for order in engine.orders] == [count]
