"""Loads a diffusers pipeline for a model of the catalogue, and finds the device it is to run on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

import torch
from accelerate import cpu_offload  # type: ignore[import-untyped]
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from workers.catalogue import ImageModel
from workers.engine.interface import EngineError

# How weights that are larger than the device come to it: a part of the pipeline at a time, or a layer.
OFFLOAD_MODES: Final = ("model", "sequential")
RESIDENT_ONLY_OPTIONS: Final = ("attention", "compile")


def load(pipeline_class: Any, *, model: ImageModel, **arguments: Any) -> Any:
    """The model's pipeline of this class, in its dtype, on the CPU. Raises EngineError."""
    if Path(model.weights).is_absolute() and not Path(model.weights, "model_index.json").is_file():
        raise EngineError(
            f"the model {model.name} has no weights at {model.weights}; `python manage.py make_small_model"
            f" --model {model.name}` makes a small model there, or name others in the models file"
        )
    pipeline = load_component(
        pipeline_class, model=model, weights=model.weights, dtype=resolve_dtype(model), **arguments
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_component(component_class: Any, *, model: ImageModel, weights: str, **arguments: Any) -> Any:
    """Whatever of a model has `from_pretrained`, from a folder or the hub. Raises EngineError."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    diffusers_logging.set_verbosity_warning()
    transformers_logging.set_verbosity_warning()
    try:
        return component_class.from_pretrained(
            weights, local_files_only=Path(weights).is_absolute(), **arguments
        )
    except (OSError, ValueError) as error:
        raise EngineError(f"the weights of {model.name} cannot be loaded: {error}") from error
    finally:
        # What they warn of while they work repeats the prompt, or is said anew for each.
        diffusers_logging.set_verbosity_error()
        transformers_logging.set_verbosity_error()


def resolve_dtype(model: ImageModel) -> torch.dtype:
    """The model's dtype as torch's."""
    return cast(torch.dtype, getattr(torch, model.dtype))


def split_offload(model: ImageModel) -> tuple[str | None, ImageModel]:
    """How the model's weights are kept off the device, or None, and the model without that option. Raises
    EngineError, also for options that are not for such weights.
    """
    options = dict(model.options)
    offload = options.pop("offload", None)
    if offload is not None and (not isinstance(offload, str) or offload not in OFFLOAD_MODES):
        raise EngineError(
            f"the model {model.name} has offload = {offload!r}, which is not one of {', '.join(OFFLOAD_MODES)}"
        )
    for name in RESIDENT_ONLY_OPTIONS:
        if offload and options.get(name):
            raise EngineError(
                f"the model {model.name} has offload and {name}, which is for weights that stay on the device"
            )
    return offload, replace(model, options=MappingProxyType(options))


def place_components(
    pipelines: Sequence[Any], *, model: ImageModel, device: torch.device, offload: str | None
) -> None:
    """Brings pipelines, which may share their parts, to the device; or, to offload them, has their parts come to it
    whenever they are called. Raises EngineError.
    """
    if offload and device.type == "cpu":
        raise EngineError(f"the model {model.name} has offload = {offload!r}, which needs a GPU")
    if offload:
        enable_offload(pipelines, device=device, offload=offload)
        return
    for pipeline in pipelines:
        pipeline.to(device)


def enable_offload(pipelines: Sequence[Any], *, device: torch.device, offload: str) -> None:
    """Leaves the parts of pipelines on the host: each, or each of its layers, comes to the device when it is called."""
    if offload == "model":
        for pipeline in pipelines:
            pipeline.enable_model_cpu_offload(device=device)
        return
    components = {
        id(component): component for pipeline in pipelines for component in pipeline.components.values()
    }
    for component in components.values():
        # What diffusers does for one pipeline. Done for a second one, it would take apart what they share.
        if isinstance(component, torch.nn.Module):
            cpu_offload(component, device, offload_buffers=bool(component._parameters))


def resolve_device(name: str) -> torch.device:
    """`auto` (the first GPU, or else the CPU), `cpu` or `cuda:0`. Raises EngineError for one that is not there."""
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise EngineError(f"DEVICE is {name!r}, not auto, cpu or cuda:0") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EngineError(f"DEVICE is {name!r}, and there is no such GPU")
    return device
