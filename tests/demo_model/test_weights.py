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


@pytest.mark.parametrize("size", [(128, 128), (400, 200), (300, 500)])
def test_a_block_in_the_middle_of_a_source_of_any_shape_is_in_the_middle_of_the_edit(
    engine: Engine, size: tuple[int, int]
) -> None:
    source = Image.new("RGB", size, (90, 140, 200))
    half, x, y = min(size) // 4, size[0] // 2, size[1] // 2
    source.paste((200, 40, 40), (x - half, y - half, x + half, y + half))
    picture = brightness(engine, "Make it night", np.asarray(source))[1].astype(int)
    rows, columns = np.nonzero(picture[..., 0] > picture[..., 2] + 20)
    assert len(rows) > 64 * 64
    # Half a token of the model is 32 pixels wide.
    assert (np.median(rows), np.median(columns)) == pytest.approx((256, 256), abs=32)
