"""Progress of the models that a worker loads, told by their adapters in the thread that loads them. It knows no torch.

An adapter from outside the project may tell it too. Of an adapter that tells nothing, no fraction is known.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

# The stages of a model's loading. Nobody tells how far a download is, so it is no part of the fraction.
DOWNLOADING: Final = "downloading"
WEIGHTS: Final = "weights"
COMPILING: Final = "compiling"
# What follows the last part that is told takes time too.
MAX_FRACTION: Final = 0.99


class LoadingProgress:
    """The part of its models that a worker has loaded, one model after the other. It never goes back.

    `stage` is the present stage. `fraction` is the part that is done, from 0 to 1, or None while it is unknown. Each
    stage of a model counts the same, whatever time it takes.
    """

    def __init__(self, *, model_count: int, on_change: Callable[[], None] = lambda: None) -> None:
        """Call `on_change` from the loading thread whenever the stage or the fraction changes."""
        self._model_count = model_count
        self._on_change = on_change
        self._loaded_count = 0
        self._planned: Sequence[str] = (WEIGHTS,)
        self._expected = defaultdict[str, float](float)
        self._done = defaultdict[str, float](float)
        self.stage = ""
        self.fraction: float | None = None

    @contextmanager
    def follow_model(self) -> Iterator[None]:
        """Follow the loading of one model in the block, which ends it."""
        self._planned = (WEIGHTS,)
        self._expected.clear()
        self._done.clear()
        token = _followed.set(self)
        try:
            yield
        finally:
            _followed.reset(token)
        self._loaded_count += 1
        if self._loaded_count < self._model_count:
            self._update(self.stage, self._loaded_count / self._model_count)

    def plan(self, stages: Sequence[str]) -> None:
        """Divide the model's loading into these stages, in this order. Call it before the first of them."""
        self._planned = stages

    def expect(self, stage: str, amount: float) -> None:
        """Enter the stage, whose work grows by this amount, in a unit of its own."""
        self._expected[stage] += amount
        self._tell(stage)

    def advance(self, stage: str, amount: float) -> None:
        """Note that this amount of the stage's work is done."""
        self._done[stage] += amount
        self._tell(stage)

    def _tell(self, stage: str) -> None:
        parts = [
            min(1.0, self._done[each] / self._expected[each]) if self._expected[each] else 0.0
            for each in self._planned
        ]
        is_known = any(self._expected[each] for each in self._planned)
        told = (self._loaded_count + sum(parts) / len(parts)) / self._model_count
        self._update(stage, told if is_known else None)

    def _update(self, stage: str, fraction: float | None) -> None:
        before = (self.stage, self.fraction)
        self.stage = stage
        if fraction is not None:
            self.fraction = max(self.fraction or 0.0, min(fraction, MAX_FRACTION))
        if (self.stage, self.fraction) != before:
            self._on_change()


_followed: ContextVar[LoadingProgress | None] = ContextVar("followed", default=None)


def plan(*stages: str) -> None:
    """Divide the loading of this thread's model into these stages, if anybody follows it."""
    if progress := _followed.get():
        progress.plan(stages)


def expect(stage: str, amount: float = 0) -> None:
    """Enter a stage of the loading of this thread's model, and add this amount to its work."""
    if progress := _followed.get():
        progress.expect(stage, amount)


def advance(stage: str, amount: float = 1) -> None:
    """Note that this amount of the stage's work is done."""
    if progress := _followed.get():
        progress.advance(stage, amount)
