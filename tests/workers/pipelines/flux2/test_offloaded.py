"""Weights that stay on the host. Without a GPU, the same hooks move the components from the CPU to the CPU."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline, StableDiffusionXLPipeline

from tests.workers.conftest import OPTIONS, entry
from tests.workers.pipelines import pictures
from tests.workers.pipelines.pictures import MAX_DIFFERENCE, RED, make_pictures, run_stages
from workers.catalogue import ImageModel
from workers.engine.interface import Engine, EngineError, load_engine
from workers.pipelines.diffusers import qwen_image, stable_diffusion_xl
from workers.pipelines.diffusers.engine import PipelineEngine
from workers.pipelines.flux2.offloaded import OffloadedFlux2Klein
from workers.pipelines.runtime import loading
from workers.pipelines.tiny import build

pytestmark = [
    pytest.mark.usefixtures("small_sources"),
    # diffusers causes it when it sets a schedule.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
CPU = torch.device("cpu")
ADAPTERS = ["flux2-klein", "qwen-image", "stable-diffusion-xl"]
make_order = partial(pictures.make_order, size=(128, 128))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImageModel]:
    folder = tmp_path_factory.mktemp("models")
    for adapter in ADAPTERS:
        build.make(folder / adapter, adapter=adapter)
    more: dict[str, dict[str, Any]] = {
        "flux2-klein": {"options": OPTIONS},
        "qwen-image": {"options": {"edit_weights": str(folder / "qwen-image"), "guidance_scale": 2.0}},
        "stable-diffusion-xl": {"options": {}, "sources": 1},
    }
    return {adapter: entry(folder / adapter, adapter=adapter, **more[adapter]) for adapter in ADAPTERS}


def load_offloaded(model: ImageModel, how: str) -> PipelineEngine:
    """Return the engine that `load` would return for this offload mode on a machine with a GPU."""
    if model.adapter == "flux2-klein":
        pipeline = loading.load(Flux2KleinPipeline, model=model)
        text = {
            "max_sequence_length": OPTIONS["max_sequence_length"],
            "text_encoder_out_layers": (1, 2, 3),
        }
        pipelines, adapter = [pipeline], OffloadedFlux2Klein(pipeline=pipeline, steps=model.steps, text=text)
    elif model.adapter == "qwen-image":
        create = loading.load(qwen_image.QwenImagePipeline, model=model)
        edit = qwen_image._load_edit_pipeline(create, model)
        adapter = qwen_image.QwenImage(create=create, edit=edit, model=model)
        pipelines = adapter.pipelines
    else:
        create = loading.load(StableDiffusionXLPipeline, model=model)
        adapter = stable_diffusion_xl.StableDiffusionXL(create=create, model=model)
        pipelines = adapter.pipelines
    loading.enable_offload(pipelines, device=CPU, offload=how)
    return PipelineEngine(adapter=adapter, model=model, device=CPU)


@pytest.mark.parametrize("how", loading.OFFLOAD_MODES)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_offloaded_it_makes_the_same_pictures_in_any_order(
    models: dict[str, ImageModel], adapter: str, how: str
) -> None:
    create, edit = make_order(), make_order(sources=[RED])
    plain = load_engine(model=models[adapter], device="cpu")
    created, edited = (make_pictures(plain, each)[0] for each in (create, edit))
    engine = load_offloaded(models[adapter], how)
    for each, expected in ((create, created), (edit, edited), (create, created)):
        assert np.abs(make_pictures(engine, each)[0] - expected).max() <= MAX_DIFFERENCE
    [first, second] = make_pictures(engine, create, make_order("a mountain at dusk", seed=7))
    assert np.abs(first - created).max() <= MAX_DIFFERENCE
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_layer_by_layer_no_weights_stay_where_they_are_used(
    models: dict[str, ImageModel], adapter: str
) -> None:
    engine = load_offloaded(models[adapter], "sequential")
    make_pictures(engine, make_order())
    pipeline = engine._adapter.build_call([make_order()]).pipeline
    transformer = getattr(pipeline, "transformer", None) or pipeline.unet
    assert {weight.device.type for weight in transformer.parameters()} == {"meta"}


def test_a_call_that_fails_takes_its_parts_back_from_the_device(
    models: dict[str, ImageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load_offloaded(models["flux2-klein"], "model")
    taken_back = []
    monkeypatch.setattr(engine._adapter._pipeline, "maybe_free_model_hooks", lambda: taken_back.append("all"))

    def broken(_done: int, _steps: int) -> None:
        raise RuntimeError("in mid-step")

    with pytest.raises(RuntimeError, match="in mid-step"):
        run_stages(engine, [make_order()], on_step=broken)
    assert taken_back == ["all"]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_without_a_gpu_the_option_is_refused(models: dict[str, ImageModel], adapter: str) -> None:
    with pytest.raises(EngineError, match="zekron-image-1 has offload = 'model', which needs a GPU"):
        _load(models[adapter], "model")


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("value", ["cpu", True, ["model"]])
def test_another_value_is_refused(models: dict[str, ImageModel], adapter: str, value: object) -> None:
    with pytest.raises(EngineError, match="allowed: model, sequential"):
        _load(models[adapter], value)


def _load(model: ImageModel, offload: object) -> Engine:
    options = {**model.options, "offload": offload}
    return load_engine(model=ImageModel(**{**vars(model), "options": options}), device="cpu")
