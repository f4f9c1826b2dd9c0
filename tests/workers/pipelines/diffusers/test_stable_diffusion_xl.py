from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    EulerAncestralDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image, ImageOps

from tests.workers.conftest import entry
from tests.workers.pipelines.flux2.test_engine import BLUE, MAX_DIFFERENCE, RED, difference, made
from tests.workers.pipelines.flux2.test_engine import order as order_of
from workers.catalogue import ImageModel
from workers.engine.batcher import Batcher
from workers.engine.interface import BadOutput, Engine, EngineError, load_engine, make
from workers.pipelines.diffusers.engine import StagedPipelineEngine
from workers.pipelines.runtime import loading
from workers.pipelines.tiny import build

# Of diffusers, in setting a schedule.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIDE = 128
order = partial(order_of, size=(SIDE, SIDE))
STOCK = {"guidance_scale": 5.0, "num_inference_steps": 4, "output_type": "np"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "xl"
    build.make(folder, adapter="stable-diffusion-xl")
    return folder


def model(weights: Path, *, options: Mapping[str, object] | None = None, **changes: object) -> ImageModel:
    plain = entry(weights, adapter="stable-diffusion-xl", options=options or {}, sources=1)
    return replace(plain, **changes)


@pytest.fixture(scope="module")
def engine(weights: Path) -> Engine:
    return load_engine(model=model(weights), device="cpu")


@pytest.mark.parametrize("size", [(256, 256), (256, 192), (192, 256)])
def test_every_shape_comes_out_in_colours(engine: Engine, size: tuple[int, int]) -> None:
    [picture] = made(engine, order(size=size))
    assert picture.shape == (size[1], size[0], 3)
    assert picture.std(axis=(0, 1)).min() > 20
    assert picture.std(axis=2).mean() > 20


def test_prompt_and_seed_change_the_picture_and_nothing_else_does(engine: Engine) -> None:
    [picture] = made(engine, order())
    assert np.array_equal(made(engine, order())[0], picture)
    assert difference(picture, made(engine, order("a fix"))[0]) > 5
    assert difference(picture, made(engine, order(seed=2))[0]) > 5


def test_creates_of_one_size_go_together_and_come_out_as_alone(engine: Engine) -> None:
    orders = [order(), order("a mountain at dusk", seed=7), order(seed=2**32 - 1), order("", seed=0)]
    assert {engine.batch_key(each) for each in orders} == {(SIDE, SIDE)}
    assert engine.batch_key(order(sources=[RED])) is None
    for each, picture in zip(orders, made(engine, *orders), strict=True):
        assert np.abs(picture - made(engine, each)[0]).max() <= MAX_DIFFERENCE


def test_noise_that_is_added_at_every_step_does_not_depend_on_the_company_either(weights: Path) -> None:
    engine = load_engine(model=model(weights), device="cpu")
    create = engine._adapter._create
    create.scheduler = EulerAncestralDiscreteScheduler.from_config(create.scheduler.config)
    together = made(engine, order(), order("a mountain at dusk", seed=7))
    assert np.abs(together[1] - made(engine, order("a mountain at dusk", seed=7))[0]).max() <= MAX_DIFFERENCE


def test_a_batch_of_two_sizes_or_with_an_edit_is_refused(engine: Engine) -> None:
    for other in (order(size=(SIDE, 2 * SIDE)), order(sources=[RED])):
        with pytest.raises(ValueError, match="creates of one size, or one edit"):
            made(engine, order(), other)


def test_a_create_is_what_the_pipeline_makes(engine: Engine, weights: Path) -> None:
    pipeline = loading.load(StableDiffusionXLPipeline, model=model(weights))
    generator = torch.Generator().manual_seed(1)
    [stock] = pipeline(prompt="a fox", width=SIDE, height=SIDE, generator=generator, **STOCK).images
    assert np.abs(made(engine, order())[0] - stock * 255).max() <= MAX_DIFFERENCE


def test_an_edit_is_what_the_pipeline_makes_of_the_picture_in_the_ordered_size(
    engine: Engine, weights: Path
) -> None:
    source = Image.linear_gradient("L").resize((300, 200)).convert("RGB")
    pipeline = loading.load(StableDiffusionXLImg2ImgPipeline, model=model(weights))
    [stock] = pipeline(
        prompt="a fox",
        image=ImageOps.fit(source, (SIDE, SIDE), Image.Resampling.LANCZOS),
        strength=0.6,
        generator=torch.Generator().manual_seed(1),
        **STOCK,
    ).images
    before = source.tobytes()
    [ours] = made(engine, order(sources=[source]))
    assert np.abs(ours - stock * 255).max() <= MAX_DIFFERENCE
    assert source.tobytes() == before


def test_an_edit_depends_on_its_source_prompt_and_seed(engine: Engine) -> None:
    [red] = made(engine, order(sources=[RED]))
    for other in (
        order(sources=[BLUE]),
        order("a hat", sources=[RED]),
        order(seed=2, sources=[RED]),
        order(),
    ):
        assert difference(red, made(engine, other)[0]) > 5


def test_strength_and_guidance_and_a_negative_prompt_matter(weights: Path, engine: Engine) -> None:
    for options, each in (
        ({"strength": 1.0}, order(sources=[RED])),
        ({"guidance_scale": 1.0}, order()),
        ({"negative_prompt": "grain"}, order()),
    ):
        other = load_engine(model=model(weights, options=options), device="cpu")
        assert difference(made(other, each)[0], made(engine, each)[0]) > 2


def test_steps_are_reported_as_they_are_done(engine: Engine) -> None:
    steps: list[tuple[int, int]] = []
    make(engine, [order(), order(seed=2)], on_step=lambda done, all_: steps.append((done, all_)))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    steps.clear()
    make(engine, [order(sources=[RED])], on_step=lambda done, all_: steps.append((done, all_)))
    assert steps == [(1, 2), (2, 2)]


def test_batches_side_by_side_do_not_disturb_each_other(engine: Engine) -> None:
    orders = [
        order(str(n), seed=n, sources=[RED] * (n % 2), size=(SIDE, SIDE + 32 * (n % 3))) for n in range(6)
    ]
    batcher = Batcher(engine, max_queue_delay_seconds=0)
    try:
        futures = [batcher.submit(each) for each in orders]
        pictures = [future.result() for future in futures]
    finally:
        batcher.close()
    for each, picture in zip(orders, pictures, strict=True):
        assert np.abs(picture - made(engine, each)[0]).max() <= MAX_DIFFERENCE


def test_the_engine_is_usable_after_an_exception(engine: Engine) -> None:
    [before] = made(engine, order())

    def broken(_done: int, _steps: int) -> None:
        raise RuntimeError("in mid-step")

    with pytest.raises(RuntimeError, match="in mid-step"):
        make(engine, [order("other", sources=[RED])], on_step=broken)
    assert np.array_equal(made(engine, order())[0], before)


def test_pixels_that_are_no_numbers_are_refused(weights: Path) -> None:
    engine = load_engine(model=model(weights), device="cpu")
    with torch.no_grad():
        engine._adapter._create.unet.conv_out.weight.fill_(float("nan"))
    with pytest.raises(BadOutput, match="no numbers"):
        made(engine, order())


def test_a_picture_of_another_size_is_refused(engine: Engine) -> None:
    denoised = engine.denoise(engine.prepare([order()]), on_step=lambda _done, _steps: None)
    with pytest.raises(BadOutput, match=r"made \(1, 3, 128, 128\) of the ordered \(1, 3, 128, 120\)"):
        engine.decode(denoised._replace(shape=(1, 3, SIDE, SIDE - 8)))


def test_half_precision_keeps_its_vae_in_single(weights: Path) -> None:
    half = load_engine(model=model(weights, dtype="float16"), device="cpu")
    assert isinstance(half, StagedPipelineEngine)
    assert half._adapter._create.vae.dtype == torch.float32
    assert half._adapter._create.unet.dtype == torch.float16


def test_bfloat16_makes_pictures_too(weights: Path) -> None:
    engine = load_engine(model=model(weights, dtype="bfloat16"), device="cpu")
    for each in (order(size=(64, 64)), order(size=(64, 64), sources=[RED])):
        assert made(engine, each)[0].std() > 10


def test_a_prompt_that_is_cut_short_is_not_written_anywhere(
    engine: Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    made(engine, order("SECRETWORD " * 60))
    assert "secretword" not in "".join(capfd.readouterr()).lower()


@pytest.mark.parametrize(
    "options",
    [
        {"guidance": 5},
        {"guidance_scale": "5"},
        {"guidance_scale": True},
        {"strength": 0},
        {"compile": ["1024"]},
        {"attention": "native"},
    ],
)
def test_an_option_that_is_unknown_or_unfit_is_refused(weights: Path, options: dict[str, object]) -> None:
    with pytest.raises(EngineError, match=f"unknown or unfit: {next(iter(options))} = "):
        load_engine(model=model(weights, options=options), device="cpu")


def test_more_sources_than_an_edit_can_have_are_refused_at_the_start(weights: Path) -> None:
    with pytest.raises(EngineError, match="sources = 2; its adapter takes at most 1"):
        load_engine(model=model(weights, sources=2), device="cpu")


def test_a_strength_that_leaves_no_step_is_refused_at_the_start(weights: Path) -> None:
    with pytest.raises(EngineError, match="leaves an edit without a step"):
        load_engine(model=model(weights, steps=1), device="cpu")
