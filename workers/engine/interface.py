"""The interface of engines, which turn orders into pictures. It knows no torch and no database."""

import gc
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from PIL import Image

from workers.catalogue import REMOTE_ADAPTER, ImageModel

# The module of each adapter defines `load(*, model: ImageModel, device: str) -> Engine`.
ADAPTERS = {
    "flux2-klein": "workers.pipelines.flux2.engine",
    "qwen-image": "workers.pipelines.diffusers.qwen_image",
    REMOTE_ADAPTER: "workers.remote.engine",
    "stable-diffusion-xl": "workers.pipelines.diffusers.stable_diffusion_xl",
}

# Shape (height, width, 3), channels red, green and blue, uint8.
Picture = np.ndarray[Any, np.dtype[np.uint8]]

# The arguments are (steps done, total steps). The thread that runs the engine calls it.
StepCallback = Callable[[int, int], None]


class Preview(NamedTuple):
    """A rough and small picture of an unfinished one: its number from 0 in its order, and the steps that were done.

    `render` returns it and may wait for the device. Call it at most once, from a thread that drives no stage.
    """

    number: int
    step: int
    render: Callable[[], Picture]


class PromptTokens(NamedTuple):
    """The number of a prompt's tokens that the model reads, and of all that the prompt has."""

    read: int
    total: int

    @property
    def are_cut(self) -> bool:
        """Return whether the model reads only a part of the prompt."""
        return self.read < self.total


# The engine may call it more than once for an order, with the same numbers.
PromptReadCallback = Callable[[PromptTokens], None]
# The thread that runs the engine calls it, so it must return at once.
PreviewCallback = Callable[[Preview], None]


class EngineError(Exception):
    """The engine cannot be loaded, or it could not make an ordered picture."""


class BadOutput(EngineError):
    """The output of the engine is not a picture of the ordered size."""


class DeviceLost(EngineError):
    """The device no longer works for this process. Another process may be able to use it."""


class Misconfigured(EngineError):
    """The models file or a setting asks for what cannot work. Another try would fail too."""


class OrderDropped(EngineError):
    """Nobody wants the picture of this order any more, so it was not made."""


class OrderRefused(EngineError):
    """The engine cannot make this order, and another attempt would fail too."""


class SomeOrdersFailed(EngineError):
    """Some orders of a batch failed alone. `outcomes` has the picture or the error of each order, in their sequence."""

    def __init__(self, outcomes: Sequence[Picture | Exception]) -> None:
        super().__init__()
        self.outcomes = outcomes


class OutOfDeviceMemory(EngineError):
    """The device has too little memory for a batch. The engine is usable again."""


@dataclass(frozen=True, kw_only=True)
class ImageOrder:
    """An order for one picture: its sides in pixels, a prompt, a seed and, for an edit, RGB source images.

    A mask has one channel, which is 255 where the first source is to be kept and 0 where it is to be painted. It and
    the first source then have the ordered size. The caller puts the kept pixels into the picture. `negative_prompt` is
    what the picture should not show, for models that take one. `is_unwanted` tells whether its client has cancelled it
    meanwhile. Any thread may call it. `on_preview` gets at most `preview_count` previews while the picture is made. An
    engine that has no previews never calls it. `on_prompt_read` is called before the steps with the number of the
    prompt's tokens. `traceparent` is the place of the order in a trace (W3C Trace Context). No engine needs it.
    """

    prompt: str
    width: int
    height: int
    seed: int
    sources: tuple[Image.Image, ...] = ()
    mask: Image.Image | None = None
    is_unwanted: Callable[[], bool] = field(default=lambda: False, compare=False)
    negative_prompt: str = ""
    preview_count: int = 0
    on_preview: PreviewCallback = field(default=lambda _: None, compare=False)
    on_prompt_read: PromptReadCallback = field(default=lambda _: None, compare=False)
    traceparent: str = field(default="", compare=False)


class Engine(Protocol):
    """A maker of pictures in three stages, so that three batches can be in flight at once.

    Each stage has its own thread, which calls it for one batch after the other. The engine is usable again after any
    exception but DeviceLost. But for rounding, a picture depends on its own order and not on the other orders of its
    batch. Each stage raises BadOutput, DeviceLost, OrderRefused, OutOfDeviceMemory, or any exception of the device. An
    engine whose orders fail apart raises SomeOrdersFailed from `decode`, so that no order is made twice.

    An engine may also have `device_name`, for people, `busy_seconds`, the total time that its device has worked, and
    `limit_batch(order)`, the maximum number of orders like this one in a batch, if their size changes it.
    """

    @property
    def batch_limit(self) -> int:
        """Maximum number of orders in a batch."""
        ...

    def batch_key(self, order: ImageOrder) -> Hashable:
        """Return a key that is equal for orders which can share a batch, or None for an order that cannot.

        It may be called from any thread.
        """
        ...

    def prepare(self, orders: Sequence[ImageOrder]) -> Any:
        """Encode the prompts and sources of a batch for the next stage, and tell each order its prompt's tokens."""
        ...

    def denoise(self, prepared: Any, *, on_step: StepCallback) -> Any:
        """Run the steps, which is the long stage. The device may still be computing the returned value."""
        ...

    def decode(self, denoised: Any) -> list[Picture]:
        """Return one picture for each order, in the sequence of the orders, in host memory."""
        ...


def load_engine(*, model: ImageModel, device: str) -> Engine:
    """Load the model's engine onto `device` (`auto`, `cpu`, `cuda:0`), which takes long.

    Raise Misconfigured if another try would fail too, and otherwise EngineError or any exception of the device.
    """
    return cast(Engine, _adapter_of(model).load(model=model, device=device))


def _adapter_of(model: ImageModel) -> ModuleType:
    # A name with a dot is a module from outside the project.
    if model.adapter not in ADAPTERS and "." not in model.adapter:
        known = ", ".join(sorted(ADAPTERS))
        raise Misconfigured(f"the model {model.name} names the adapter {model.adapter!r}; known are: {known}")
    try:
        with _without_garbage_collection():
            return import_module(ADAPTERS.get(model.adapter, model.adapter))
    except ImportError as problem:
        raise Misconfigured(f"the model {model.name}'s adapter {model.adapter}: {problem}") from problem


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Collect no garbage while the block runs, and afterwards none among the objects that exist by then.

    The imports of an adapter make a million objects that stay. To look for garbage among them, again and again, takes
    a tenth of their time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # A later collection need not walk these objects again, which would block all threads for half a second.
        gc.freeze()
        if was_enabled:
            gc.enable()


def refuse_unfit(picture: Picture, order: ImageOrder) -> None:
    """Raise BadOutput for a picture that must not be charged.

    Such a picture has another size or type than ordered, or is black all over.
    """
    if picture.dtype != np.uint8 or picture.shape != (order.height, order.width, 3):
        raise BadOutput(f"the engine made {picture.dtype} of {picture.shape}, not RGB of the ordered size")
    # NaN becomes black in the conversion to bytes, and pipelines replace a refused picture with a black one.
    if not picture.any():
        raise BadOutput("the engine made a picture that is black all over")
