"""Weights that stay on the host. Without a GPU, the same hooks move the components from the CPU to the CPU."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from tests.workers.conftest import OPTIONS, entry
from tests.workers.pipelines import pictures
from tests.workers.pipelines.offloading import load_offloaded, with_options
from tests.workers.pipelines.pictures import MAX_DIFFERENCE, RED, make_pictures, run_stages
from workers.catalogue import ImageModel
from workers.engine.interface import ADAPTERS as MODULES
from workers.engine.interface import Engine, EngineError, Misconfigured, PromptTokens, load_engine
from workers.pipelines.runtime import loading
from workers.pipelines.tiny import build

pytestmark = [
    pytest.mark.usefixtures("small_sources"),
    # diffusers causes it when it sets a schedule.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
ADAPTERS = ["flux2-klein", "qwen-image", "stable-diffusion-xl"]
# A value of each option that is not its default.
VALUES: dict[str, Callable[[ImageModel], object]] = {
    "attention": lambda _model: "native",
    "compile": lambda _model: ["128x128"],
    "compile_each_size": lambda _model: True,
    "compile_required": lambda _model: True,
    "compile_tuned": lambda _model: True,
    "edit_weights": lambda model: model.weights,
    "guidance_scale": lambda _model: 3.5,
    "max_sequence_length": lambda _model: 200,
    "negative_prompt": lambda _model: "blurred",
    "prompt_cut": lambda _model: "middle",
    "precision": lambda _model: "float8",
    "source_shape": lambda _model: "ordered",
    "strength": lambda _model: 0.5,
    "text_encoder_out_layers": lambda _model: [1, 1, 2],
}
OPTIONS_OF_ADAPTERS = [
    (adapter, option) for adapter in ADAPTERS for option in import_module(MODULES[adapter]).OPTIONS
]
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


@pytest.mark.long
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
    told: list[PromptTokens] = []
    engine.prepare([replace(make_order("x" * 4000), on_prompt_read=told.append)])
    assert [tokens.are_cut for tokens in told] == [True]


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
    return load_engine(model=with_options(model, offload=offload), device="cpu")


@pytest.mark.parametrize(("adapter", "option"), OPTIONS_OF_ADAPTERS)
def test_every_option_is_either_refused_by_its_name_or_has_its_effect(
    models: dict[str, ImageModel], adapter: str, option: str
) -> None:
    plain = models[adapter]
    if option == "edit_weights":
        plain = replace(plain, options={}, sources=0)
    changed = with_options(plain, **{option: VALUES[option](plain)})
    seen: object
    try:
        seen = _list_arguments(load_offloaded(changed, "model"))
    except Misconfigured as error:
        seen = str(error)
    refusal = (
        f"the model {plain.name} has offload and {option}; {option} needs weights that stay on the device"
    )
    assert seen == refusal or seen != _list_arguments(load_offloaded(plain, "model"))
    assert (seen == refusal) == (option in loading.RESIDENT_ONLY_OPTIONS)


def _list_arguments(engine: Any) -> list[dict[str, Any]]:
    """Return the arguments of the calls that make a picture with and without a source, but for noise and pixels."""
    orders = [make_order("x" * 2000)]
    if len(getattr(engine._adapter, "pipelines", [None])) > 1 or engine._model.sources > 1:
        orders.append(make_order(sources=[RED]))
    calls = [engine._adapter.build_call([order]) for order in orders]
    return [{**call.arguments, "generator": None, "image": _sizes(call.arguments)} for call in calls]


def _sizes(arguments: dict[str, Any]) -> list[tuple[int, int]]:
    images = arguments.get("image") or []
    return [image.size for image in (images if isinstance(images, list) else [images])]


@pytest.mark.parametrize(
    ("option", "value"),
    [("compile", []), ("compile_required", False), ("compile_tuned", False), ("precision", "weights")],
)
def test_a_value_that_needs_no_weights_on_the_device_is_taken(
    models: dict[str, ImageModel], option: str, value: object
) -> None:
    assert load_offloaded(with_options(models["flux2-klein"], **{option: value}), "model").batch_limit == 4
