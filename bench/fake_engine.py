"""An adapter in the place of a device: it takes no time, unless a prompt says so, and gives a picture of a kind.

Its diary has a line for each order, as soon as the worker has brought it: when, by which process, which prompt.
"""

import json
import os
import time
from collections.abc import Hashable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench import pictures
from workers.catalogue import ImageModel
from workers.engine.interface import ImageOrder, Picture, StepCallback

SLEEP = "sleep "


class StandIn:
    """An Engine. A prompt is a kind of picture or `sleep` and seconds, and whatever else tells it from others."""

    def __init__(self, *, diary: Path, batch_limit: int) -> None:
        self.batch_limit = batch_limit
        self._diary = diary
        self._seen: set[tuple[str, int]] = set()

    def batch_key(self, order: ImageOrder) -> Hashable:
        """What is asked first of an order, and so the moment at which its work begins."""
        if (order.prompt, order.seed) not in self._seen:
            self._seen.add((order.prompt, order.seed))
            line = json.dumps({"at": time.time(), "pid": os.getpid(), "prompt": order.prompt})
            with self._diary.open("a") as diary:
                diary.write(f"{line}\n")
        return order.width, order.height

    def prepare(self, orders: Sequence[ImageOrder]) -> Sequence[ImageOrder]:
        """Nothing."""
        return orders

    def denoise(self, prepared: Sequence[ImageOrder], *, on_step: StepCallback) -> Sequence[ImageOrder]:
        """Sleeps where a prompt asks for that."""
        for order in prepared:
            if order.prompt.startswith(SLEEP):
                time.sleep(float(order.prompt.split()[1]))
        return prepared

    def decode(self, denoised: Sequence[ImageOrder]) -> list[Picture]:
        """The kind of picture that each prompt begins with, or a flat one."""
        return [_picture(order.prompt.partition(" ")[0], order.width) for order in denoised]


@cache
def _picture(kind: str, side: int) -> Picture:
    return np.array(pictures.KINDS.get(kind, pictures.flat)(side))


def load(*, model: ImageModel, device: str) -> StandIn:
    """What an adapter's module has; `weights` is the folder of the diary."""
    del device
    return StandIn(diary=Path(model.weights) / "diary", batch_limit=model.batch_limit)


def read(diary: Path) -> list[dict[str, Any]]:
    """The lines of the diary so far."""
    return [json.loads(line) for line in diary.read_text().splitlines()]
