"""An adapter in place of a device. It takes no time unless a prompt says so, and returns a picture of a kind.

Its diary has a line for each order, with the time of its arrival at the engine, the process, and the prompt.
"""

import json
import os
import time
from collections.abc import Hashable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench import pictures
from workers.catalogue import ImageModel
from workers.engine.interface import ImageOrder, Picture, StepCallback

SLEEP: Final = "sleep "


class FakeEngine:
    """An Engine whose prompts choose its behaviour.

    A prompt starts with a kind of picture, or with `sleep` and seconds. The rest makes it unique.
    """

    def __init__(self, *, diary: Path, batch_limit: int) -> None:
        self.batch_limit = batch_limit
        self._diary = diary
        self._seen: set[tuple[str, int]] = set()

    def batch_key(self, order: ImageOrder) -> Hashable:
        """Write the diary, since this is the first call for an order, and return the order's size."""
        if (order.prompt, order.seed) not in self._seen:
            self._seen.add((order.prompt, order.seed))
            line = json.dumps({"at": time.time(), "pid": os.getpid(), "prompt": order.prompt})
            with self._diary.open("a") as diary:
                diary.write(f"{line}\n")
        return order.width, order.height

    def prepare(self, orders: Sequence[ImageOrder]) -> Sequence[ImageOrder]:
        """Return the orders."""
        return orders

    def denoise(self, prepared: Sequence[ImageOrder], *, on_step: StepCallback) -> Sequence[ImageOrder]:
        """Sleep if a prompt asks for it."""
        for order in prepared:
            if order.prompt.startswith(SLEEP):
                time.sleep(float(order.prompt.split()[1]))
        return prepared

    def decode(self, denoised: Sequence[ImageOrder]) -> list[Picture]:
        """Return the kind of picture that each prompt starts with, or a flat one."""
        return [_paint(order.prompt.partition(" ")[0], order.width) for order in denoised]


@cache
def _paint(kind: str, side: int) -> Picture:
    return np.array(pictures.KINDS.get(kind, pictures.flat)(side))


def load(*, model: ImageModel, device: str) -> FakeEngine:
    """Return the engine. `weights` of the models file is the folder of the diary."""
    del device
    return FakeEngine(diary=Path(model.weights) / "diary", batch_limit=model.batch_limit)


def read(diary: Path) -> list[dict[str, Any]]:
    """Return the lines of the diary so far."""
    return [json.loads(line) for line in diary.read_text().splitlines()]
