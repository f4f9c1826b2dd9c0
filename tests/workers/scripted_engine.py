"""An adapter for worker processes in tests: the engine does what the prompt says, in place of a GPU."""

import time
from collections.abc import Sequence

from PIL import Image

from tests.engines import UnstagedEngine
from workers.catalogue import ImageModel
from workers.engine.interface import DeviceLost, ImageOrder, StepCallback


class Obedient(UnstagedEngine):
    """`slow 3` takes three seconds, `lose the device` loses it, all else is a teal picture at once."""

    def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
        """Do what the prompts of the orders ask for."""
        word, _, seconds = orders[0].prompt.partition(" ")
        if word == "lose":
            raise DeviceLost("an illegal memory access was encountered")
        if word == "slow":
            time.sleep(float(seconds))
        return [Image.new("RGB", (order.width, order.height), "teal") for order in orders]


def load(*, model: ImageModel, device: str) -> Obedient:
    """Return the engine, as an adapter's module does."""
    return Obedient()
