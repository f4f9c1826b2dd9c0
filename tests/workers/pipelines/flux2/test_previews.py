"""Previews from FLUX.2's latents: they resemble the picture that comes, and change no picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.workers.pipelines.pictures import measure_likeness, run_stages
from workers.catalogue import catalogue
from workers.engine.interface import Engine, ImageOrder, Picture, Preview, load_engine
from workers.pipelines.runtime import latent_previews

pytestmark = [
    pytest.mark.slow,
    # diffusers causes it when it sets a schedule.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
PROMPTS = ("a red boat on the sea at sunset", "a snowy mountain at night")
SIZE = (512, 768)
# Of 1. The demo model's previews come to 0.9 and more, and pictures of two prompts to 0.4 at most.
MIN_LIKENESS = 0.75
MIN_GAIN = 0.3


@pytest.fixture(scope="module")
def engine(whole_fit: None) -> Engine:
    """Load the model that comes along, whose pictures show what was asked for."""
    return load_engine(model=catalogue()["zekron-image-1"], device="cpu")


def order(prompt: str, seed: int = 1) -> ImageOrder:
    return ImageOrder(prompt=prompt, width=SIZE[0], height=SIZE[1], seed=seed)


def make(engine: Engine, orders: list[ImageOrder]) -> tuple[list[Picture], list[list[Preview]]]:
    """Make one batch with three previews each."""
    got: list[list[Preview]] = [[] for _ in orders]
    wanted = [
        replace(each, preview_count=3, on_preview=previews.append)
        for each, previews in zip(orders, got, strict=True)
    ]
    return run_stages(engine, wanted, on_step=lambda _done, _steps: None), got


def test_previews_resemble_the_picture_that_comes_and_the_pictures_are_the_same_without_them(
    engine: Engine,
) -> None:
    orders = [order(prompt) for prompt in PROMPTS]
    plain = run_stages(engine, orders, on_step=lambda _done, _steps: None)
    made, got = make(engine, orders)
    for one, other in zip(plain, made, strict=True):
        assert np.array_equal(one, other)
    for index, previews in enumerate(got):
        assert [(preview.number, preview.step) for preview in previews] == [(0, 2), (1, 3), (2, 4)]
        rendered = [preview.render() for preview in previews]
        for picture in rendered:
            assert picture.dtype == np.uint8
            assert picture.shape == (SIZE[1] // 4, SIZE[0] // 4, 3)
        own = measure_likeness(rendered[-1], made[index])
        assert own > MIN_LIKENESS
        assert own > measure_likeness(rendered[-1], made[1 - index]) + MIN_GAIN
        # The flow is nearly straight at its end, so the guess of each step is better than noise.
        assert measure_likeness(rendered[0], made[index]) > MIN_LIKENESS - 0.1


def test_an_order_without_previews_beside_one_with_them_gets_none(engine: Engine) -> None:
    got: list[Preview] = []
    orders = [order(PROMPTS[0]), replace(order(PROMPTS[1]), preview_count=1, on_preview=got.append)]
    run_stages(engine, orders, on_step=lambda _done, _steps: None)
    assert [(preview.number, preview.step) for preview in got] == [(0, 3)]


def test_without_a_fit_there_are_no_previews(engine: Engine) -> None:
    previews = latent_previews.LatentPreviews(device=engine._device, patch_pixels=16)
    got: list[Preview] = []
    wanted = replace(order(PROMPTS[0]), preview_count=3, on_preview=got.append)
    previews.offer([wanted], done=2, step_count=4, find_clean=lambda: torch.zeros((1, 4, 8)), grid=(2, 2))
    assert got == []
