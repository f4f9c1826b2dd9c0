from dataclasses import replace
from pathlib import Path

import pytest

from tests.workers.conftest import entry
from workers.engine import EngineError, ImageOrder, load_engine


def test_an_unknown_adapter_is_refused_by_name() -> None:
    model = replace(entry(Path("/nowhere")), adapter="klein")
    with pytest.raises(EngineError, match="the adapter 'klein'; known are: flux2-klein"):
        load_engine(model=model, device="cpu")


def test_a_module_of_ones_own_is_an_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "studio").mkdir()
    (tmp_path / "studio" / "crayons.py").write_text(
        "def load(*, model, device):\n    return model.name, device\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = replace(entry(Path("/nowhere")), adapter="studio.crayons")
    assert load_engine(model=model, device="cuda:0") == ("zekron-image-1", "cuda:0")


def test_a_module_that_is_not_there_is_refused_by_name() -> None:
    model = replace(entry(Path("/nowhere")), adapter="studio.chalk")
    with pytest.raises(
        EngineError, match=r"the model zekron-image-1's adapter studio\.chalk: No module named"
    ):
        load_engine(model=model, device="cpu")


def test_an_order_cannot_be_changed() -> None:
    order = ImageOrder(prompt="a fox", width=512, height=512, seed=1)
    with pytest.raises(AttributeError):
        order.seed = 2  # type: ignore[misc]
