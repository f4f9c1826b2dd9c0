"""A stand-in for the GPU in real worker processes: each picture follows from its order, so that it can be checked.

It does what a device may do wrong as well: once, where a file of that name lies in its folder, or whenever a prompt
says so. Its diary says which process began which order when.
"""

import hashlib
import json
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image

from tests.engines import UnstagedEngine
from workers.catalogue import ImageModel
from workers.engine.interface import DeviceLost, ImageOrder, StepCallback

# In the place of a GPU's seconds: long enough to die in, and it costs no CPU.
BATCH_SECONDS = 0.15
DIARY = "diary"
# Longer than a lease lasts.
SLOW_SECONDS = 35.0
POISON = "[kill the worker]"
LONG = "[take your time]"
LONG_SECONDS = 2.0
FAULTS = ("killed", "out of memory", "black", "wrong size", "device lost", "slow")


class OutOfMemory(RuntimeError):
    """The device has no memory left for this batch."""


def picture(
    *, prompt: str, seed: int, width: int, height: int, sources: Sequence[Image.Image] = ()
) -> Image.Image:
    """Sixteen coloured fields that nobody gets from another prompt, seed, size or source."""
    digest = hashlib.shake_256(f"{prompt}\0{seed}\0{width}x{height}".encode())
    for source in sources:
        digest.update(hashlib.sha256(source.tobytes()).digest())
    return Image.frombytes("RGB", (4, 4), digest.digest(48)).resize((width, height), Image.Resampling.NEAREST)


class ChaosEngine(UnstagedEngine):
    """Keeps the Engine protocol, until it is told not to."""

    def __init__(self, *, folder: Path, batch_limit: int) -> None:
        self.batch_limit = batch_limit
        self._folder = folder

    def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
        """Paint the pictures, or do what the folder or a prompt asks for instead."""
        self._write_diary(orders)
        time.sleep(BATCH_SECONDS / 2)
        self._misbehave(orders)
        on_step(1, 2)
        fault = self._take_fault()
        time.sleep(BATCH_SECONDS / 2 + (SLOW_SECONDS if fault == "slow" else 0))
        if fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "out of memory":
            raise OutOfMemory
        if fault == "device lost":
            raise DeviceLost("the device was taken away")
        on_step(2, 2)
        pictures = [_made(order) for order in orders]
        if fault == "black":
            return [Image.new("RGB", each.size) for each in pictures]
        if fault == "wrong size":
            return [each.resize((each.width // 2, each.height // 2)) for each in pictures]
        return pictures

    def _write_diary(self, orders: Sequence[ImageOrder]) -> None:
        lines = [
            json.dumps({"pid": os.getpid(), "at": time.monotonic(), "prompt": order.prompt}) + "\n"
            for order in orders
        ]
        with (self._folder / DIARY).open("a") as diary:
            diary.write("".join(lines))

    def _misbehave(self, orders: Sequence[ImageOrder]) -> None:
        prompts = "\n".join(order.prompt for order in orders)
        if POISON in prompts:
            os.kill(os.getpid(), signal.SIGKILL)
        if LONG in prompts:
            time.sleep(LONG_SECONDS)

    def _take_fault(self) -> str | None:
        for fault in FAULTS:
            # Of several workers, the one that removes the file has the fault.
            with suppress(FileNotFoundError):
                (self._folder / fault).unlink()
                return fault
        return None


def load(*, model: ImageModel, device: str) -> ChaosEngine:
    """Return the engine of a models file whose `weights` are the folder of faults and diary."""
    del device
    return ChaosEngine(folder=Path(model.weights), batch_limit=model.batch_limit)


def _made(order: ImageOrder) -> Image.Image:
    return picture(
        prompt=order.prompt, seed=order.seed, width=order.width, height=order.height, sources=order.sources
    )
