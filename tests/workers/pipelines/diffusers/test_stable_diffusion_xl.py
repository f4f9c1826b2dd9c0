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
from PIL import Image

from tests.workers.conftest import entry
from tests.workers.pipelines import pictures
from tests.workers.pipelines.pictures import (
    BLUE,
    MAX_DIFFERENCE,
    RED,
    make_pictures,
    mean_difference,
    run_stages,
)
from workers.catalogue import ImageModel
from workers.engine.interface import Engine, EngineError, load_engine
from workers.imaging import letterbox
from workers.pipelines.diffusers.engine import StagedPipelineEngine
from workers.pipelines.runtime import loading
from workers.pipelines.tiny import build

# diffusers causes it when it sets a schedule.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIDE = 128
make_order = partial(pictures.make_order, size=(SIDE, SIDE))
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


def test_creates_of_one_size_go_together_and_come_out_as_alone(engine: Engine) -> None:
    orders = [
        make_order(),
        make_order("a mountain at dusk", seed=7),
        make_order(seed=2**32 - 1),
        make_order("", seed=0),
    ]
    assert {engine.batch_key(each) for each in orders} == {(SIDE, SIDE, False)}
    assert engine.batch_key(make_order(sources=[RED])) is None
    for each, picture in zip(orders, make_pictures(engine, *orders), strict=True):
        assert np.abs(picture - make_pictures(engine, each)[0]).max() <= MAX_DIFFERENCE


def test_noise_that_is_added_at_every_step_does_not_depend_on_the_company_either(weights: Path) -> None:
    engine = load_engine(model=model(weights), device="cpu")
    create = engine._adapter._create
    create.scheduler = EulerAncestralDiscreteScheduler.from_config(create.scheduler.config)
    together = make_pictures(engine, make_order(), make_order("a mountain at dusk", seed=7))
    assert (
        np.abs(together[1] - make_pictures(engine, make_order("a mountain at dusk", seed=7))[0]).max()
        <= MAX_DIFFERENCE
    )


def test_a_create_is_what_the_pipeline_makes(engine: Engine, weights: Path) -> None:
    pipeline = loading.load(StableDiffusionXLPipeline, model=model(weights))
    generator = torch.Generator().manual_seed(1)
    [stock] = pipeline(prompt="a fox", width=SIDE, height=SIDE, generator=generator, **STOCK).images
    assert np.abs(make_pictures(engine, make_order())[0] - stock * 255).max() <= MAX_DIFFERENCE


def test_an_edit_is_what_the_pipeline_makes_of_the_picture_in_the_ordered_size(
    engine: Engine, weights: Path
) -> None:
    source = Image.linear_gradient("L").resize((300, 200)).convert("RGB")
    pipeline = loading.load(StableDiffusionXLImg2ImgPipeline, model=model(weights))
    [stock] = pipeline(
        prompt="a fox",
        image=letterbox.fit(source, (SIDE, SIDE)),
        strength=0.6,
        generator=torch.Generator().manual_seed(1),
        **STOCK,
    ).images
    before = source.tobytes()
    [ours] = make_pictures(engine, make_order(sources=[source]))
    assert np.abs(ours - stock * 255).max() <= MAX_DIFFERENCE
    assert source.tobytes() == before


def test_an_edit_depends_on_its_source_prompt_and_seed(engine: Engine) -> None:
    [red] = make_pictures(engine, make_order(sources=[RED]))
    for other in (
        make_order(sources=[BLUE]),
        make_order("a hat", sources=[RED]),
        make_order(seed=2, sources=[RED]),
        make_order(),
    ):
        assert mean_difference(red, make_pictures(engine, other)[0]) > 5


def test_what_a_mask_leaves_to_be_painted_starts_from_noise_whatever_the_strength(engine: Engine) -> None:
    masked = replace(make_order(sources=[RED.resize((SIDE, SIDE))]), mask=Image.new("L", (SIDE, SIDE)))
    steps: list[tuple[int, int]] = []
    run_stages(engine, [masked], on_step=lambda *step: steps.append(step))
    assert steps == [(done, 4) for done in range(1, 5)]


def test_what_a_mask_leaves_to_be_painted_does_not_show_through(engine: Engine) -> None:
    mask = Image.new("L", (SIDE, SIDE), 255)
    mask.paste(0, (0, 0, SIDE, SIDE // 2))
    pictures_made = []
    for colour in ("red", "blue"):
        source = Image.new("RGB", (SIDE, SIDE), "green")
        source.paste(colour, (0, 0, SIDE, SIDE // 2))
        before = source.tobytes()
        pictures_made += make_pictures(engine, replace(make_order(sources=[source]), mask=mask))
        assert source.tobytes() == before
    one, other = (picture[: SIDE // 4] for picture in pictures_made)
    # The kept latents beside the edge have seen the pixels beyond it.
    assert mean_difference(one, other) < 5


def test_strength_and_guidance_and_a_negative_prompt_matter(weights: Path, engine: Engine) -> None:
    for options, each in (
        ({"strength": 1.0}, make_order(sources=[RED])),
        ({"guidance_scale": 1.0}, make_order()),
        ({"negative_prompt": "grain"}, make_order()),
    ):
        other = load_engine(model=model(weights, options=options), device="cpu")
        assert mean_difference(make_pictures(other, each)[0], make_pictures(engine, each)[0]) > 2


def test_a_negative_prompt_of_an_order_is_read_like_that_of_the_options(
    weights: Path, engine: Engine
) -> None:
    other = load_engine(model=model(weights, options={"negative_prompt": "grain"}), device="cpu")
    own = replace(make_order(), negative_prompt="grain")
    assert np.array_equal(make_pictures(engine, own)[0], make_pictures(other, make_order())[0])
    assert engine.batch_key(own) != engine.batch_key(make_order())


def test_half_precision_keeps_its_vae_in_single(weights: Path) -> None:
    half = load_engine(model=model(weights, dtype="float16"), device="cpu")
    assert isinstance(half, StagedPipelineEngine)
    assert half._adapter._create.vae.dtype == torch.float32
    assert half._adapter._create.unet.dtype == torch.float16


def test_a_prompt_that_is_cut_short_is_not_written_anywhere(
    engine: Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    make_pictures(engine, make_order("SECRETWORD " * 60))
    assert "secretword" not in "".join(capfd.readouterr()).lower()


def test_more_sources_than_an_edit_can_have_are_refused_at_the_start(weights: Path) -> None:
    with pytest.raises(EngineError, match="sources = 2; its adapter takes at most 1"):
        load_engine(model=model(weights, sources=2), device="cpu")


def test_a_strength_that_leaves_no_step_is_refused_at_the_start(weights: Path) -> None:
    with pytest.raises(EngineError, match="leaves an edit without a step"):
        load_engine(model=model(weights, steps=1), device="cpu")
