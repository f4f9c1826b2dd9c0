"""Engines whose weights stay on the host, without a GPU: the hooks move them from the CPU to the CPU."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from workers.catalogue import ImageModel
from workers.engine.interface import load_engine
from workers.pipelines.diffusers.engine import PipelineEngine
from workers.pipelines.runtime import loading


def load_offloaded(model: ImageModel, how: str) -> PipelineEngine:
    """Return the engine that `load` would return for this offload mode on a machine with a GPU."""

    def place(pipelines: Any, *, device: torch.device, offload: str, **_: object) -> None:
        loading.enable_offload(pipelines, device=device, offload=offload)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "place_components", place)
        engine = load_engine(model=with_options(model, offload=how), device="cpu")
    assert isinstance(engine, PipelineEngine)
    return engine


def with_options(model: ImageModel, **options: object) -> ImageModel:
    """Return the model with these options beside its own."""
    return replace(model, options={**model.options, **options})
