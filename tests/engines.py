"""Helpers for engines in tests: an engine without stages of its own, and one batch through all stages."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence

import numpy as np
from PIL import Image

from workers.engine.interface import Engine, ImageOrder, Picture, StepCallback


class UnstagedEngine(ABC):
    """An Engine around code that makes pictures in one go, and creates of one size together."""

    batch_limit = 1

    @abstractmethod
    def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> Sequence[Image.Image]:
        """Return one RGB picture for each order, in their order."""

    def batch_key(self, order: ImageOrder) -> Hashable:
        """Return None for an edit, because its sources would belong to the whole batch."""
        return None if order.sources else (order.width, order.height)

    def prepare(self, orders: Sequence[ImageOrder]) -> Sequence[ImageOrder]:
        """Return the orders as they are."""
        return orders

    def denoise(self, prepared: Sequence[ImageOrder], *, on_step: StepCallback) -> Sequence[Image.Image]:
        """Do all the work."""
        return self.generate(prepared, on_step=on_step)

    def decode(self, denoised: Sequence[Image.Image]) -> list[Picture]:
        """Return the pixels of each picture."""
        return [np.asarray(picture) for picture in denoised]


def make(engine: Engine, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Picture]:
    """Run one batch through all stages, one after the other."""
    return engine.decode(engine.denoise(engine.prepare(orders), on_step=on_step))
