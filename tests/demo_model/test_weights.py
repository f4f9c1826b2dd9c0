from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import demo_model
from demo_model.sizes import PROMPT_TOKENS, STEPS
from workers import catalogue
from workers.catalogue import ImageModel
from workers.engine import Engine, ImageOrder, load_engine, make

MODELS_FILE = Path(demo_model.__file__).parent / "models.toml"


@pytest.fixture(scope="module")
def model() -> ImageModel:
    [model] = catalogue.load(MODELS_FILE).values()
    return model


@pytest.fixture(scope="module")
def engine(model: ImageModel) -> Engine:
    return load_engine(model=model, device="cpu")


def brightness(engine: Engine, prompt: str, *sources: np.ndarray) -> tuple[float, np.ndarray]:
    pictures = tuple(Image.fromarray(source) for source in sources)
    order = ImageOrder(prompt=prompt, width=256, height=256, seed=1, sources=pictures)
    [picture] = make(engine, [order], on_step=lambda _done, _steps: None)
    return float(picture.mean()), picture


def test_the_shipped_model_is_served_as_it_was_trained(model: ImageModel) -> None:
    assert model.steps == STEPS
    assert model.options == {"max_sequence_length": PROMPT_TOKENS, "text_encoder_out_layers": [1, 2, 3]}


def test_the_shipped_model_tells_day_from_night(engine: Engine) -> None:
    day, picture = brightness(engine, "A meadow at noon")
    assert brightness(engine, "A meadow at night")[0] < 0.6 * day
    assert brightness(engine, "Turn day into night", picture)[0] < 0.6 * day
