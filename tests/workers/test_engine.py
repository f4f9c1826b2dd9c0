from dataclasses import replace
from pathlib import Path

import pytest

from tests.workers.conftest import entry
from workers.engine import EngineError, ImageOrder, load_engine


def test_an_unknown_adapter_is_refused_by_name() -> None:
    model = replace(entry(Path("/nowhere")), adapter="klein")
    with pytest.raises(EngineError, match="the adapter 'klein'; known are: flux2-klein"):
        load_engine(model=model, device="cpu")


def test_an_order_cannot_be_changed() -> None:
    order = ImageOrder(prompt="a fox", width=512, height=512, seed=1)
    with pytest.raises(AttributeError):
        order.seed = 2  # type: ignore[misc]
