"""Loads a diffusers pipeline for a model of the catalogue, and finds the device it is to run on."""

from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from workers.catalogue import ImageModel
from workers.engine import EngineError


def load(pipeline_class: Any, *, model: ImageModel) -> Any:
    """The model's pipeline of this class, in its dtype, on the CPU. Raises EngineError."""
    local = Path(model.weights).is_absolute()
    if local and not Path(model.weights, "model_index.json").is_file():
        raise EngineError(
            f"the model {model.name} has no weights at {model.weights}; `python manage.py make_small_model`"
            " makes a small model there, or name others in the models file"
        )
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipeline = pipeline_class.from_pretrained(
            model.weights, dtype=getattr(torch, model.dtype), local_files_only=local
        )
    except (OSError, ValueError) as problem:
        raise EngineError(f"the weights of {model.name} cannot be loaded: {problem}") from problem
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def device_named(name: str) -> torch.device:
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
