"""The loading of diffusers pipelines for models of the catalogue, and the choice of their device.

Weights go from their files to the device tensor by tensor, so the host never holds a model that runs on a GPU.
"""

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

import torch
from accelerate import cpu_offload  # type: ignore[import-untyped]
from diffusers.utils import logging as diffusers_logging
from huggingface_hub.utils.tqdm import enable_progress_bars
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from workers.catalogue import ImageModel
from workers.engine import loading_progress
from workers.engine.interface import EngineError, Misconfigured

log = logging.getLogger(__name__)

CPU: Final = torch.device("cpu")
# The libraries whose components can be loaded straight to a device.
LIBRARIES: Final = ("diffusers", "transformers")
# For weights larger than the device: one component of the pipeline moves to it at a time, or one layer.
OFFLOAD_MODES: Final = ("model", "sequential")
# The options of all adapters that need weights on the device, and the one value of each that does not.
RESIDENT_ONLY_OPTIONS: Final[Mapping[str, object]] = {
    "attention": None,
    "compile": [],
    "compile_each_size": False,
    "compile_required": False,
    "compile_tuned": False,
    "precision": "weights",
}


def load(pipeline_class: Any, *, model: ImageModel, device: torch.device = CPU, **arguments: Any) -> Any:
    """Return the model's pipeline of this class, in its dtype, on the device. Raise EngineError."""
    folder = fetch(pipeline_class, model=model)
    return assemble(pipeline_class, folder, model=model, device=device, **arguments)


def fetch(pipeline_class: Any, *, model: ImageModel) -> str:
    """Return the folder of the model's weights, downloaded if it is not on this disk. Raise EngineError."""
    if Path(model.weights).is_absolute() and not Path(model.weights, "model_index.json").is_file():
        raise Misconfigured(
            f"the model {model.name} has no weights at {model.weights}; run `python manage.py make_small_model"
            f" --model {model.name}` for a small model, or name other weights in the models file"
        )
    folder = _download(pipeline_class, model)
    components = Path(folder).iterdir()
    loading_progress.expect(
        loading_progress.WEIGHTS, sum(count_bytes(folder, each.name) for each in components if each.is_dir())
    )
    return folder


def count_bytes(weights: str, component_name: str) -> int:
    """Return the bytes of a component's weights in a folder, or 0 if it has none or the folder is not on this disk."""
    files = Path(weights, component_name).glob("*.safetensors")
    return sum(file.stat().st_size for file in files) if Path(weights).is_absolute() else 0


def assemble(
    pipeline_class: Any, folder: str, *, model: ImageModel, device: torch.device, **arguments: Any
) -> Any:
    """Return the pipeline with the weights of this folder on the device.

    Take components that are loaded already, and the pipeline's own arguments, as `arguments`. Raise EngineError.
    """
    for name, component_class in _list_weights(pipeline_class, folder, model).items():
        if name not in arguments:
            arguments[name] = load_weights(
                component_class, model=model, weights=folder, device=device, subfolder=name
            )
    pipeline = load_component(
        pipeline_class, model=model, weights=folder, dtype=resolve_dtype(model), **arguments
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_weights(
    component_class: Any, *, model: ImageModel, weights: str, device: torch.device, **arguments: Any
) -> Any:
    """Return one component in the model's dtype, its weights read straight to the device. Raise EngineError."""
    component = load_component(
        component_class,
        model=model,
        weights=weights,
        dtype=resolve_dtype(model),
        device_map={"": device},
        **arguments,
    )
    loading_progress.advance(loading_progress.WEIGHTS, count_bytes(weights, arguments.get("subfolder", "")))
    return component


def _list_weights(pipeline_class: Any, folder: str, model: ImageModel) -> dict[str, Any]:
    """Return the classes of the folder's components that have weights, by their names in the pipeline."""
    with _tell_errors(model):
        described = pipeline_class.load_config(folder)
    named = inspect.signature(pipeline_class.__init__).parameters
    classes = {
        name: getattr(import_module(value[0]), value[1], None)
        for name, value in described.items()
        if name in named and isinstance(value, list | tuple) and value[0] in LIBRARIES
    }
    return {
        name: each
        for name, each in classes.items()
        if isinstance(each, type) and issubclass(each, torch.nn.Module)
    }


def _download(pipeline_class: Any, model: ImageModel) -> str:
    """Return the folder of the model's weights, after their download, which is shown. Raise EngineError."""
    if Path(model.weights).is_absolute():
        return model.weights
    name, revision = _split_revision(model.weights)
    if revision is None:
        log.warning(
            "%s names no revision of %s, so its pictures can change with the next download; write %s@REVISION",
            model.name,
            name,
            name,
        )
    loading_progress.expect(loading_progress.DOWNLOADING)
    log.info("%s comes from %s at the hub, or from its cache on this disk", model.name, model.weights)
    enable_progress_bars()
    with _tell_errors(model):
        return str(pipeline_class.download(name, revision=revision))


def _split_revision(weights: str) -> tuple[str, str | None]:
    name, _, revision = weights.partition("@")
    return name, revision or None


def load_component(
    component_class: Any, *, model: ImageModel, weights: str, warns: bool = True, **arguments: Any
) -> Any:
    """Return an instance of any class that has `from_pretrained`, from a folder or the hub. Raise EngineError.

    With `warns`, the libraries log what is odd about the weights.
    """
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    for each in (diffusers_logging, transformers_logging):
        each.set_verbosity(each.WARNING if warns else each.ERROR)
    is_folder = Path(weights).is_absolute()
    name, revision = (weights, None) if is_folder else _split_revision(weights)
    try:
        with _tell_errors(model):
            return component_class.from_pretrained(
                name, revision=revision, local_files_only=is_folder, **arguments
            )
    finally:
        # Their later warnings repeat the prompt, or come again with every picture.
        diffusers_logging.set_verbosity_error()
        transformers_logging.set_verbosity_error()


@contextmanager
def _tell_errors(model: ImageModel) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise EngineError(f"the weights of {model.name} cannot be loaded: {error}") from error


def resolve_dtype(model: ImageModel) -> torch.dtype:
    """Return the model's dtype as torch's."""
    return cast(torch.dtype, getattr(torch, model.dtype))


def split_offload(model: ImageModel) -> tuple[str | None, ImageModel]:
    """Return the model's offload mode, or None, and the model without that option.

    Raise EngineError for an unknown mode, and for options that need weights on the device.
    """
    options = dict(model.options)
    offload = options.pop("offload", None)
    if offload is not None and (not isinstance(offload, str) or offload not in OFFLOAD_MODES):
        raise Misconfigured(
            f"the model {model.name} has offload = {offload!r}; allowed: {', '.join(OFFLOAD_MODES)}"
        )
    for name, value_without in RESIDENT_ONLY_OPTIONS.items():
        if offload and options.get(name, value_without) != value_without:
            raise Misconfigured(
                f"the model {model.name} has offload and {name}; {name} needs weights that stay on the device"
            )
    return offload, replace(model, options=MappingProxyType(options))


def place_components(
    pipelines: Sequence[Any], *, model: ImageModel, device: torch.device, offload: str | None
) -> None:
    """Move pipelines, which may share components, to the device, or let it fetch their weights on each call.

    Raise EngineError if offloading is wanted without a GPU.
    """
    if offload and device.type == "cpu":
        raise Misconfigured(f"the model {model.name} has offload = {offload!r}, which needs a GPU")
    if offload:
        enable_offload(pipelines, device=device, offload=offload)
        return
    for pipeline in pipelines:
        pipeline.to(device)


def enable_offload(pipelines: Sequence[Any], *, device: torch.device, offload: str) -> None:
    """Keep weights on the host. A whole component (`model`) or one layer (`sequential`) moves when called."""
    if offload == "model":
        for pipeline in pipelines:
            pipeline.enable_model_cpu_offload(device=device)
        return
    components = {
        id(component): component for pipeline in pipelines for component in pipeline.components.values()
    }
    for component in components.values():
        # diffusers' own call, made for a second pipeline, would break the components that both share.
        if isinstance(component, torch.nn.Module):
            cpu_offload(component, device, offload_buffers=bool(component._parameters))


def resolve_device(name: str) -> torch.device:
    """Return the device of this name: `cpu`, `cuda:0`, or `auto` for the first GPU or else the CPU.

    Raise EngineError for a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise Misconfigured(f"DEVICE is {name!r}; allowed: auto, cpu, or a GPU such as cuda:0") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EngineError(f"DEVICE is {name!r}, but this machine has no such GPU")
    return device
