"""What makes pictures, as the workers see it: orders in, pictures out. Knows no torch and no database."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np
from PIL import Image

from workers.catalogue import ImageModel

# Each adapter's module has `load(*, model: ImageModel, device: str) -> Engine`.
ADAPTERS = {
    "flux2-klein": "workers.pipelines.flux2.engine",
    "qwen-image": "workers.pipelines.diffusers.qwen_image",
    "stable-diffusion-xl": "workers.pipelines.diffusers.stable_diffusion_xl",
}

# What comes out: (height, width, 3), red, green and blue, uint8.
Picture = np.ndarray[Any, np.dtype[np.uint8]]

# (steps done, steps in all), called from the thread that runs the engine.
StepCallback = Callable[[int, int], None]


class EngineError(Exception):
    """The engine cannot be made, or could not make what was ordered."""


class BadOutput(EngineError):
    """The engine made something that is no picture of the ordered size."""


class DeviceLost(EngineError):
    """The device serves this process no more; another process may be able to use it."""


@dataclass(frozen=True, kw_only=True)
class ImageOrder:
    """One picture to make, its sides in pixels, from a prompt, a seed and, for an edit, RGB source images."""

    prompt: str
    width: int
    height: int
    seed: int
    sources: tuple[Image.Image, ...] = ()


class Engine(Protocol):
    """Makes pictures in three stages, so that three batches can be under way at once: each stage has a thread of its
    own, and is called there for one batch after the other. Usable again after any exception but DeviceLost.

    A picture depends on its own order, not on its company. Each stage raises BadOutput, DeviceLost, or what the device
    raises. An engine may also tell its `device_name`, for people, and the `busy_seconds` of its device in all.
    """

    @property
    def batch_limit(self) -> int:
        """How many orders are made together at most."""
        ...

    def batch_key(self, order: ImageOrder) -> Hashable:
        """Orders whose keys are equal can be made together; None goes alone. Called from any thread."""
        ...

    def prepare(self, orders: Sequence[ImageOrder]) -> Any:
        """What the next stage needs of a batch: prompts and sources, encoded."""
        ...

    def denoise(self, prepared: Any, *, on_step: StepCallback) -> Any:
        """The long stage. What it returns may still be under way on the device."""
        ...

    def decode(self, denoised: Any) -> list[Picture]:
        """One picture an order, in their order, on the host."""
        ...


class UnstagedEngine(ABC):
    """An Engine around something that makes pictures in one go, and creates of one size together."""

    batch_limit = 1

    @abstractmethod
    def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> Sequence[Image.Image]:
        """One RGB picture an order, in their order."""

    def batch_key(self, order: ImageOrder) -> Hashable:
        """An edit goes alone: its sources would belong to the whole batch."""
        return None if order.sources else (order.width, order.height)

    def prepare(self, orders: Sequence[ImageOrder]) -> Sequence[ImageOrder]:
        """Nothing yet."""
        return orders

    def denoise(self, prepared: Sequence[ImageOrder], *, on_step: StepCallback) -> Sequence[Image.Image]:
        """Everything."""
        return self.generate(prepared, on_step=on_step)

    def decode(self, denoised: Sequence[Image.Image]) -> list[Picture]:
        """The pixels."""
        return [np.asarray(picture) for picture in denoised]


def make(engine: Engine, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Picture]:
    """One batch through all stages, one after the other."""
    return engine.decode(engine.denoise(engine.prepare(orders), on_step=on_step))


def load_engine(*, model: ImageModel, device: str) -> Engine:
    """The model's engine, ready on `device` (`auto`, `cpu`, `cuda:0`). Takes long; raises EngineError."""
    return cast(Engine, _adapter_of(model).load(model=model, device=device))


def _adapter_of(model: ImageModel) -> ModuleType:
    # A name with a dot is a module of one's own.
    if model.adapter not in ADAPTERS and "." not in model.adapter:
        known = ", ".join(sorted(ADAPTERS))
        raise EngineError(f"the model {model.name} names the adapter {model.adapter!r}; known are: {known}")
    try:
        return import_module(ADAPTERS.get(model.adapter, model.adapter))
    except ImportError as problem:
        raise EngineError(f"the model {model.name}'s adapter {model.adapter}: {problem}") from problem


def refuse_unfit(picture: Picture, order: ImageOrder) -> None:
    """Raises BadOutput for a picture that nobody should pay for: of another size or kind, or black all over."""
    if picture.dtype != np.uint8 or picture.shape != (order.height, order.width, 3):
        raise BadOutput(f"the engine made {picture.dtype} of {picture.shape}, not RGB of the ordered size")
    # What numbers that are none become on their way to bytes, and what pipelines put in the place of a refused picture.
    if not picture.any():
        raise BadOutput("the engine made a picture that is black all over")
