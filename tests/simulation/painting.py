"""The pictures of the simulated engine: each shows its prompt and seed alone, so that a wrong one is seen."""

import hashlib
import io
from concurrent.futures import Future
from functools import cache
from typing import Final

import numpy as np
from PIL import Image

from tests.simulation import partials
from tests.simulation.actors import Actor
from tests.simulation.faults import Fault
from workers.engine.batcher import BatcherClosed
from workers.engine.interface import ImageOrder, OrderDropped, Picture

# A prompt that takes the worker along, and one at which the engine fails each time.
DEADLY: Final = "a deadly"
POISON: Final = "a poisonous"
# Some as long as it takes another worker to come back from a freeze.
USUAL_SECONDS: Final = (1, 3, 10, 30)
SLOW_SECONDS: Final = (30, 60, 90)
# Between its steps the engine looks whether the picture is still wanted.
STEP_SECONDS: Final = 5


class EngineBroke(Exception):
    """The engine failed."""


def submit_order(actor: Actor, order: ImageOrder) -> "Future[Picture]":
    """Do what `AttemptContext.submit_order` promises, after some of the simulator's time."""
    possible = (Fault.BROKEN, Fault.STOPPED, Fault.SLOW)
    struck = actor.gate(f"the engine is asked for {order.prompt!r}", *possible)
    future: Future[Picture] = Future()
    is_wanted = _paint(
        actor, order, actor.simulator.dice.choice(SLOW_SECONDS if struck == Fault.SLOW else USUAL_SECONDS)
    )
    if order.prompt.startswith(DEADLY):
        actor.die()
    if struck == Fault.STOPPED:
        raise BatcherClosed
    if struck == Fault.BROKEN or order.prompt.startswith(POISON):
        future.set_exception(EngineBroke())
    elif not is_wanted:
        future.set_exception(OrderDropped())
    else:
        future.set_result(np.asarray(_picture(order.prompt, order.seed, (order.width, order.height))))
    actor.gate("the engine answers", Fault.RELIEVED)
    return future


def _paint(actor: Actor, order: ImageOrder, seconds: int) -> bool:
    """Let the time of all steps go by; return False as soon as nobody wants the picture any more."""
    for step, step_at in enumerate(range(0, seconds, STEP_SECONDS)):
        if order.is_unwanted():
            return False
        partials.send(order, step=step)
        actor.sleep(min(STEP_SECONDS, seconds - step_at))
    return True


def expected(prompt: str, seed: int | None) -> bytes:
    """Return the pixels that were made for a prompt and a seed."""
    return _picture(prompt, seed, (64, 64)).tobytes()


def pixels_of(png: bytes) -> bytes:
    """Return the pixels of a PNG."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
        return picture.tobytes()


@cache
def source() -> bytes:
    """Return a source image as the serializer leaves it."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "olive").save(file, "PNG")
    return file.getvalue()


def _picture(prompt: str, seed: int | None, size: tuple[int, int]) -> Image.Image:
    digest = hashlib.sha256(f"{prompt} {seed}".encode()).digest()
    return Image.frombytes("RGB", (3, 3), digest[:27]).resize(size, Image.Resampling.NEAREST)
