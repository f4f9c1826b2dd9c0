"""What makes pictures, as the workers see it: orders in, pictures out. Knows no torch and no database."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Protocol, cast

from PIL import Image

from workers.catalogue import ImageModel

# Each adapter's module has `load(*, model: ImageModel, device: str) -> Engine`.
ADAPTERS = {"flux2-klein": "workers.pipelines.flux2_klein"}

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
    """Makes pictures, one call at a time; usable again after any exception but DeviceLost."""

    @property
    def batch_limit(self) -> int:
        """How many creates of one size `generate` takes at once."""
        ...

    def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
        """One RGB picture an order, in their order: creates of one size together, or one edit alone.

        A picture depends on its own order, not on its company. Raises BadOutput, DeviceLost, or what the device raises.
        """
        ...


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


def refuse_unfit(picture: Image.Image, order: ImageOrder) -> None:
    """Raises BadOutput for a picture that nobody should pay for: of another size or mode, or black all over."""
    if (picture.mode, picture.size) != ("RGB", (order.width, order.height)):
        raise BadOutput(f"the engine made {picture.mode} of {picture.size}, not RGB of the ordered size")
    # What numbers that are none become on their way to bytes, and what pipelines put in the place of a refused picture.
    if picture.getextrema() == ((0, 0),) * 3:
        raise BadOutput("the engine made a picture that is black all over")
