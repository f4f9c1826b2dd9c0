"""Weights that go straight from their files to the device, of checkpoints as the hub has them: several files each."""

import json
import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import Flux2KleinPipeline, QwenImagePipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file
from transformers import core_model_loading

from tests.workers.conftest import OPTIONS, entry
from workers.catalogue import ImageModel
from workers.engine.interface import EngineError, Misconfigured, load_engine
from workers.engine.loading_progress import LoadingProgress
from workers.pipelines.diffusers import qwen_image
from workers.pipelines.flux2.text_encoder import load_text_encoder
from workers.pipelines.runtime import loading
from workers.pipelines.tiny import build

PIPELINES: dict[str, Any] = {
    "flux2-klein": Flux2KleinPipeline,
    "qwen-image": QwenImagePipeline,
    "stable-diffusion-xl": StableDiffusionXLPipeline,
}
# It has shapes and no memory, so weights that are there have not been through the host's.
ELSEWHERE = torch.device("meta")


@pytest.fixture(scope="module", params=PIPELINES)
def adapter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(adapter: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint in bfloat16 whose components have several files each."""
    pipeline: Any = build.build(adapter)[""]
    pipeline.to(dtype=torch.bfloat16)
    made = tmp_path_factory.mktemp("sharded") / adapter
    pipeline.save_pretrained(made, max_shard_size="300KB")
    assert len(list(made.rglob("*-of-*.safetensors"))) >= 2
    return made


def describe(folder: Path, adapter: str, dtype: str = "bfloat16") -> ImageModel:
    return entry(folder, adapter=adapter, dtype=dtype, options={})


def list_modules(pipeline: Any) -> dict[str, torch.nn.Module]:
    return {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_weights_are_bit_for_bit_what_the_pipeline_loads_itself(
    folder: Path, adapter: str, dtype: str
) -> None:
    stock = PIPELINES[adapter].from_pretrained(folder, dtype=getattr(torch, dtype))
    ours = list_modules(loading.load(PIPELINES[adapter], model=describe(folder, adapter, dtype)))
    assert set(ours) == set(list_modules(stock))
    for name, expected in list_modules(stock).items():
        assert type(ours[name]) is type(expected)
        assert not ours[name].training
        for kind in ("named_parameters", "named_buffers"):
            of_stock, of_ours = (dict(getattr(each, kind)()) for each in (expected, ours[name]))
            assert of_ours.keys() == of_stock.keys()
            for key, tensor in of_stock.items():
                assert of_ours[key].dtype == tensor.dtype
                assert torch.equal(of_ours[key], tensor), f"{name}.{key}"


def test_every_component_is_loaded_on_the_device(folder: Path, adapter: str) -> None:
    pipeline = loading.load(PIPELINES[adapter], model=describe(folder, adapter), device=ELSEWHERE)
    for name, part in list_modules(pipeline).items():
        tensors = [*part.parameters(), *part.buffers()]
        assert {tensor.device for tensor in tensors} == {ELSEWHERE}, name


def test_weights_that_edit_are_loaded_on_the_device_too(tmp_path: Path) -> None:
    for name in ("create", "edit"):
        build.make(tmp_path / name, adapter="qwen-image")
    model = entry(tmp_path / "create", adapter="qwen-image", options={"edit_weights": str(tmp_path / "edit")})
    create, edit = qwen_image._load_adapter(model, ELSEWHERE).pipelines
    assert edit.transformer is not create.transformer
    assert {weight.device for weight in edit.transformer.parameters()} == {ELSEWHERE}


def follow(load: Callable[[], object]) -> list[float]:
    """Load, and return each fraction that was told, the last before the end of the loading."""
    told: list[float] = []
    progress = LoadingProgress(model_count=1, on_change=lambda: told.append(progress.fraction or 0.0))
    with progress.follow_model():
        load()
        last = len(told)
    return told[:last]


def test_the_progress_of_loading_is_that_of_the_bytes(folder: Path, adapter: str) -> None:
    model = describe(folder, adapter)
    told = follow(lambda: loading.load(PIPELINES[adapter], model=model, device=ELSEWHERE))
    sizes = [loading.count_bytes(str(folder), each.name) for each in folder.iterdir() if each.is_dir()]
    parts = [size / sum(sizes) for size in sizes if size]
    steps = [after - before for before, after in pairwise([*told[:-1], 1.0])]
    assert told[0] == 0.0
    assert sorted(steps) == pytest.approx(sorted(parts))


def test_the_bytes_of_weights_that_edit_are_expected_from_the_start(tmp_path: Path) -> None:
    for name in ("create", "edit"):
        build.make(tmp_path / name, adapter="qwen-image")
    model = entry(tmp_path / "create", adapter="qwen-image", options={"edit_weights": str(tmp_path / "edit")})
    told = follow(lambda: qwen_image._load_adapter(model, ELSEWHERE))
    create = sum(file.stat().st_size for file in (tmp_path / "create").rglob("*.safetensors"))
    edit = loading.count_bytes(str(tmp_path / "edit"), "transformer")
    # The second transformer is the last to be loaded.
    assert told[-2] == pytest.approx(create / (create + edit))


@pytest.fixture
def klein(tmp_path: Path) -> Path:
    """Return a checkpoint of FLUX.2 whose text encoder has several files and three layers."""
    pipeline: Any = build.build("flux2-klein")[""]
    pipeline.to(dtype=torch.bfloat16)
    pipeline.save_pretrained(tmp_path / "sharded", max_shard_size="100KB")
    assert len(list((tmp_path / "sharded" / "text_encoder").glob("*.safetensors"))) >= 3
    return tmp_path / "sharded"


def load_encoder(folder: Path, out_layers: list[int]) -> Any:
    model = describe(folder, "flux2-klein")
    return load_text_encoder(str(folder), model=model, device=loading.CPU, out_layers=out_layers)


def test_weights_that_are_not_used_are_not_read(
    klein: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = []
    materialise = core_model_loading._materialize_copy
    monkeypatch.setattr(
        core_model_loading,
        "_materialize_copy",
        lambda tensor, *args: read.append(tuple(tensor.get_shape())) or materialise(tensor, *args),
    )
    # The library's messages go no further than to its own logger.
    monkeypatch.setattr(logging.getLogger("transformers"), "handlers", [caplog.handler])
    with caplog.at_level(logging.WARNING):
        whole = load_encoder(klein, [1, 2, 3])
        of_whole, read = read, []
        encoder = load_encoder(klein, [1, 2, 2])
    assert len(encoder.model.layers) == 2
    assert len(of_whole) - len(read) == len(list(whole.model.layers[2].parameters()))
    # Neither of them, nor the tied head, is told as odd.
    assert caplog.text == ""
    assert encoder.lm_head.weight is encoder.model.embed_tokens.weight
    kept = encoder.model.layers.state_dict()
    for key, tensor in whole.model.layers[:2].state_dict().items():
        assert torch.equal(kept[key], tensor)


def test_a_file_without_a_tensor_that_is_used_is_refused(klein: Path) -> None:
    index_file = klein / "text_encoder" / "model.safetensors.index.json"
    index = json.loads(index_file.read_text())
    name = "model.layers.1.mlp.up_proj.weight"
    file = klein / "text_encoder" / index["weight_map"].pop(name)
    index_file.write_text(json.dumps(index))
    tensors = load_file(file)
    save_file({key: tensors[key] for key in tensors if key != name}, file, {"format": "pt"})
    with pytest.raises(EngineError, match=f"the weights of zekron-image-1 lack {name} of the text encoder"):
        load_encoder(klein, [1, 2, 2])


def test_a_layer_that_is_not_there_is_refused_before_the_weights_are_read(klein: Path) -> None:
    for file in klein.rglob("*.safetensors"):
        file.unlink()
    options = {**OPTIONS, "text_encoder_out_layers": [1, 2, 4]}
    with pytest.raises(Misconfigured, match=r"\[1, 2, 4\], but its text encoder has 3 layers"):
        load_engine(model=entry(klein, options=options), device="cpu")
