"""Qwen-Image and Stable Diffusion XL, compiled as `load` compiles them on a GPU, but without a compiler of C++."""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from tests.workers.conftest import entry
from tests.workers.pipelines.comparison import check_same_pictures
from tests.workers.pipelines.pictures import RED, make_order, make_pictures
from workers.catalogue import ImageModel
from workers.engine.interface import BadOutput, Engine, EngineError, load_engine
from workers.pipelines.diffusers.engine import StagedPipelineEngine
from workers.pipelines.tiny import build

pytestmark = [
    pytest.mark.usefixtures("small_sources"),
    # diffusers causes it when it sets a schedule.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
ADAPTERS = ["qwen-image", "stable-diffusion-xl"]
SIZES = ["128x128", "192x128"]
# Compiled sizes and others, alone and together, with sources and without.
MIXED = [
    [make_order(size=(128, 128))],
    [make_order("a fox" * seed, size=(192, 128), seed=seed) for seed in range(3)],
    [make_order("a boat", size=(128, 160), seed=seed) for seed in range(2)],
    [make_order(size=(64, 160), sources=[RED])],
]


@pytest.fixture(scope="module", params=ADAPTERS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ImageModel:
    folder = tmp_path_factory.mktemp("models") / "small"
    build.make(folder, adapter=request.param)
    more = {"edit_weights": str(folder)} if request.param == "qwen-image" else {}
    plain = entry(folder, adapter=request.param, options={"guidance_scale": 2.0, **more}, sources=1)
    return replace(plain, steps=2, batch_limit=3)


@pytest.fixture(scope="module")
def plain(model: ImageModel) -> Engine:
    return load_engine(model=model, device="cpu")


def with_options(model: ImageModel, **options: object) -> ImageModel:
    return replace(model, options={**model.options, **options})


@pytest.fixture(scope="module")
def compiled(model: ImageModel) -> Iterator[StagedPipelineEngine]:
    engine = load_engine(model=with_options(model, compile=SIZES), device="cpu")
    assert isinstance(engine, StagedPipelineEngine)
    engine.compile(backend="eager")
    yield engine
    torch.compiler.reset()


@pytest.mark.long
def test_any_batch_comes_out_as_uncompiled_and_nothing_is_compiled_for_it(
    compiled: StagedPipelineEngine, plain: Engine
) -> None:
    check_same_pictures(compiled, plain, MIXED)


def test_a_batch_of_two_sizes_or_with_an_edit_is_refused(plain: Engine) -> None:
    for other in (make_order(size=(128, 256)), make_order(size=(128, 128), sources=[RED])):
        with pytest.raises(ValueError, match="creates of one size, or one edit"):
            make_pictures(plain, make_order(size=(128, 128)), other)


def test_a_picture_of_another_size_is_refused(model: ImageModel, plain: Engine) -> None:
    # Qwen-Image cannot unpack latents into a grid of another size, so there the count differs.
    shape = (2, 3, 128, 128) if model.adapter == "qwen-image" else (1, 3, 128, 120)
    prepared = plain.prepare([make_order(size=(128, 128))])
    denoised = plain.denoise(prepared, on_step=lambda _done, _steps: None)
    with pytest.raises(BadOutput, match=re.escape(f"shape (1, 3, 128, 128) instead of the ordered {shape}")):
        plain.decode(denoised._replace(shape=shape))


def test_on_a_cpu_nothing_is_compiled_and_the_log_says_so(
    model: ImageModel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load_engine(model=with_options(model, compile=SIZES), device="cpu")
    assert "zekron-image-1 is not compiled: compiling needs a GPU, and this device is a CPU" in caplog.text


def test_an_option_without_effect_is_logged(model: ImageModel, caplog: pytest.LogCaptureFixture) -> None:
    unguided = with_options(model, guidance_scale=1, negative_prompt="blurred")
    without_sources = replace(model, sources=0)
    if model.adapter == "stable-diffusion-xl":
        without_sources = with_options(without_sources, strength=0.5)
    for changed in (unguided, without_sources, with_options(model, negative_prompt="blurred")):
        with caplog.at_level(logging.WARNING):
            load_engine(model=changed, device="cpu")
    of_edits = "edit_weights" if model.adapter == "qwen-image" else "strength"
    assert [record.getMessage() for record in caplog.records if "no effect" in record.getMessage()] == [
        "zekron-image-1 has the option negative_prompt, which has no effect without a guidance_scale above 1",
        f"zekron-image-1 has the option {of_edits}, which has no effect without sources",
    ]


@pytest.mark.parametrize("option", ["compile", "attention"])
def test_an_option_that_needs_weights_on_the_device_is_refused_with_offload(
    model: ImageModel, option: str
) -> None:
    value = SIZES if option == "compile" else "native"
    with pytest.raises(EngineError, match=f"has offload and {option}; {option} needs weights that stay"):
        load_engine(model=with_options(model, offload="model", **{option: value}), device="cpu")
