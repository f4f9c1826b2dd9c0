"""Qwen-Image and Stable Diffusion XL, compiled as `load` compiles them on a GPU, but for code that takes a compiler."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus

from tests.workers.conftest import entry
from tests.workers.pipelines.flux2.test_engine import RED, order
from tests.workers.pipelines.runtime.test_compilation import check_made_as_without
from workers.catalogue import ImageModel
from workers.engine.interface import Engine, EngineError, load_engine
from workers.pipelines.diffusers.engine import StagedPipelineEngine
from workers.pipelines.tiny import build

# Of diffusers, in setting a schedule.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
ADAPTERS = ["qwen-image", "stable-diffusion-xl"]
SIZES = ["128x128", "192x128"]
# Sizes that were named and others, alone and together, with sources and without.
MIXED = [
    [order(size=(128, 128))],
    [order("a fox" * seed, size=(192, 128), seed=seed) for seed in range(3)],
    [order("a boat", size=(128, 160), seed=seed) for seed in range(2)],
    [order(size=(64, 160), sources=[RED])],
]


@pytest.fixture(scope="module", autouse=True)
def small_sources() -> Iterator[None]:
    """Qwen-Image's pipeline scales each source of an edit to a megapixel, which takes this CPU seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", 128 * 128)
        yield


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


def test_any_batch_is_made_as_without_and_nothing_is_compiled_for_it(
    compiled: StagedPipelineEngine, plain: Engine
) -> None:
    check_made_as_without(compiled, plain, MIXED)


def test_on_a_cpu_nothing_is_compiled_and_a_line_says_so(
    model: ImageModel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load_engine(model=with_options(model, compile=SIZES), device="cpu")
    assert "zekron-image-1 is not compiled: that is for a GPU, and this is a CPU" in caplog.text


@pytest.mark.parametrize("option", ["compile", "attention"])
def test_what_is_for_weights_that_stay_is_refused_for_those_that_come_and_go(
    model: ImageModel, option: str
) -> None:
    value = SIZES if option == "compile" else "native"
    with pytest.raises(EngineError, match=f"has offload and {option}, which is for weights that stay"):
        load_engine(model=with_options(model, offload="model", **{option: value}), device="cpu")
