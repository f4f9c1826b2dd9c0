from pathlib import Path

import numpy as np
import pytest
from django.conf import settings
from PIL import Image

from tests.engines import make
from workers import catalogue
from workers.engine.interface import Engine, ImageOrder, load_engine


@pytest.fixture(scope="module")
def engine() -> Engine:
    [model] = catalogue.load(Path(settings.BASE_DIR) / "models.toml").values()
    return load_engine(model=model, device="cpu")


def brightness(engine: Engine, prompt: str, *sources: np.ndarray) -> tuple[float, np.ndarray]:
    pictures = tuple(Image.fromarray(source) for source in sources)
    order = ImageOrder(prompt=prompt, width=512, height=512, seed=1, sources=pictures)
    [picture] = make(engine, [order], on_step=lambda _done, _steps: None)
    return float(picture.mean()), picture


def test_the_shipped_model_tells_day_from_night(engine: Engine) -> None:
    day, picture = brightness(engine, "A meadow at noon")
    assert brightness(engine, "A meadow at night")[0] < 0.6 * day
    assert brightness(engine, "Turn day into night", picture)[0] < 0.6 * day
