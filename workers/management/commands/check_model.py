"""Command `check_model`: it loads a model as a worker does and makes one picture of each size."""

import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from PIL import Image

from workers.catalogue import ImageModel
from workers.engine.interface import Engine, EngineError, ImageOrder, Picture, load_engine, refuse_unfit
from workers.management.lookup import find_model

SIZES: Final = ((512, 512), (1024, 768), (768, 1024), (1024, 1024))
Result = TypeVar("Result")
PROMPT: Final = "a red boat on the sea at sunset"


class Command(BaseCommand):
    """Command that shows whether a model works on this machine, and with which time and memory. It stores nothing."""

    help = "Load a model as a worker does, make one picture of each size and an edit, and print seconds and memory."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the model's name, and the folder for the pictures."""
        parser.add_argument("model", help="a model of the models file")
        parser.add_argument("--pictures", type=Path, help="a folder to write the pictures to, as PNG files")

    def handle(self, *_args: Any, model: str, pictures: Path | None, **_options: Any) -> None:
        """Print a line for the load and for each picture. Fail if one of them does."""
        entry = find_model(model)
        self.stdout.write(f"{model}: {entry.weights} on {settings.DEVICE}")
        try:
            engine, seconds = _measure(lambda: load_engine(model=entry, device=settings.DEVICE))
            device = getattr(engine, "device_name", settings.DEVICE)
            self._report(f"load, {getattr(engine, 'compilation', 'plain')}, on {device}", seconds, engine)
            for name, order in _list_orders(entry):
                picture, seconds = _measure(lambda order=order: _make(engine, order))  # type: ignore[misc]
                self._report(name, seconds, engine)
                if pictures:
                    pictures.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(picture).save(pictures / f"{name.replace(' ', '-')}.png")
        except (EngineError, OSError, RuntimeError) as error:
            raise CommandError(f"{model} does not work on {settings.DEVICE}: {error}") from error

    def _report(self, name: str, seconds: float, engine: Engine) -> None:
        self.stdout.write(f"{name}: {seconds:.2f} s{_describe_memory(engine)}")


def _list_orders(model: ImageModel) -> Iterator[tuple[str, ImageOrder]]:
    for width, height in SIZES:
        yield f"{width}x{height}", ImageOrder(prompt=PROMPT, width=width, height=height, seed=0)
    for count in range(1, model.sources + 1):
        sources = tuple(Image.effect_noise(SIZES[-1], 64).convert("RGB") for _ in range(count))
        yield (
            f"edit of {count}",
            ImageOrder(prompt=PROMPT, width=1024, height=1024, seed=0, sources=sources),
        )


def _make(engine: Engine, order: ImageOrder) -> Picture:
    [picture] = engine.decode(engine.denoise(engine.prepare([order]), on_step=lambda _done, _steps: None))
    refuse_unfit(picture, order)
    return picture


def _measure(work: Callable[[], Result]) -> tuple[Result, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def _describe_memory(engine: Engine) -> str:
    byte_count = getattr(engine, "most_memory_bytes", 0)
    return f", {byte_count / 1e9:.1f} GB of the device's memory at most" if byte_count else ""
