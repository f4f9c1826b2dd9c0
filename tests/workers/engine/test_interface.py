import gc
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.workers.conftest import entry
from workers.engine.interface import BadOutput, EngineError, ImageOrder, Picture, load_engine, refuse_unfit


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
    engine: object = load_engine(model=model, device="cuda:0")
    assert engine == ("zekron-image-1", "cuda:0")


@pytest.mark.parametrize("ending", ["", "raise ImportError\n"])
def test_no_garbage_is_collected_while_an_adapter_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    name = f"ink{len(ending)}"
    load = "def load(*, model, device):\n    return collects, gc.isenabled()\n"
    (tmp_path / f"{name}.py").write_text(f"import gc\ncollects = gc.isenabled()\n{load}")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / f"{name}.py").write_text(f"from {name} import collects, load\n{ending}")
    monkeypatch.syspath_prepend(tmp_path)
    model = replace(entry(Path("/nowhere")), adapter=f"odd.{name}")
    if ending:
        with pytest.raises(EngineError, match="adapter"):
            load_engine(model=model, device="cpu")
    else:
        before = gc.get_freeze_count()
        found: object = load_engine(model=model, device="cpu")
        assert gc.get_freeze_count() > before
        assert found == (False, True)
    assert sys.modules[name].collects is False
    assert gc.isenabled()


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


@pytest.mark.parametrize(
    "picture",
    [
        np.ones((9, 8, 3), np.uint8),
        np.ones((8, 8, 4), np.uint8),
        np.ones((8, 8), np.uint8),
        np.ones((8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
    ],
    ids=["size", "alpha", "grey", "floats", "black"],
)
def test_a_picture_that_nobody_should_pay_for_is_refused(picture: Picture) -> None:
    with pytest.raises(BadOutput):
        refuse_unfit(picture, ImageOrder(prompt="", width=8, height=8, seed=0))


def test_a_dark_picture_is_a_picture() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[7, 7, 2] = 1
    refuse_unfit(picture, ImageOrder(prompt="", width=8, height=8, seed=0))
