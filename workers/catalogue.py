"""The public models, read strictly from the models file. Knows what each is and costs, not how it runs."""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from django.conf import settings

from billing.prices import PriceRule
from workers import licences

# The model of a request that names none.
DEFAULT_MODEL = "zekron-image-1"

DTYPES = ("float32", "bfloat16", "float16")
MAX_STEPS = 200
MAX_BATCH = 64
MAX_SOURCES = 2
DEFAULT_QUEUE = "gpu"
# What the rest of the service sends its own messages to.
RESERVED_QUEUES = ("chores", "celery")
FIELDS = ("adapter", "weights", "licence", "steps", "dtype", "batch_limit", "options", "price")
OPTIONAL_FIELDS = ("sources", "queue")


class CatalogueError(Exception):
    """The models file cannot be used; the message says where and why in one line."""


@dataclass(frozen=True, kw_only=True)
class ImageModel:
    """A public model: `weights` is an absolute folder or a hub id; the adapter passes `options` on. An edit has at most
    `sources` images, and the workers that consume `queue` make what is asked of it.
    """

    name: str
    adapter: str
    weights: str
    licence: str
    steps: int
    dtype: str
    batch_limit: int
    options: Mapping[str, object]
    price: PriceRule
    sources: int = MAX_SOURCES
    queue: str = DEFAULT_QUEUE


def catalogue() -> Mapping[str, ImageModel]:
    """The models of the settings' file by name, read once a process. Raises CatalogueError, also for weights that may
    not be used for money, unless the settings name their model.
    """
    return _load_once(Path(settings.MODELS_FILE), settings.ALLOW_NONCOMMERCIAL)


def models_of(queues: Collection[str]) -> list[ImageModel]:
    """The models of the settings' file whose work is in these queues. Raises CatalogueError."""
    return [model for model in catalogue().values() if model.queue in queues]


def load(path: Path) -> Mapping[str, ImageModel]:
    """The models of a TOML file by name, the default one among them. Raises CatalogueError."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise CatalogueError(f"{path}: cannot be read: {problem.strerror}") from None
    except ValueError as problem:
        raise CatalogueError(f"{path}: is not TOML: {problem}") from None
    models = {name: _Entry(path=path, name=name, table=table).model() for name, table in tables.items()}
    if DEFAULT_MODEL not in models:
        raise CatalogueError(f"{path}: has no {DEFAULT_MODEL}, the model of a request that names none")
    return MappingProxyType(models)


@cache
def _load_once(path: Path, allowed: frozenset[str]) -> Mapping[str, ImageModel]:
    models = load(path)
    for model in models.values():
        if licences.forbids_paid_use(model.licence) and model.name not in allowed:
            raise CatalogueError(
                f"{path}: {model.name}: its licence {model.licence} forbids paid use;"
                f" if you have another, set ALLOW_NONCOMMERCIAL={model.name}"
            )
    return models


@dataclass(frozen=True, kw_only=True)
class _Entry:
    path: Path
    name: str
    table: object

    def model(self) -> ImageModel:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,63}", self.name):
            raise self.problem("a model's name is 1 to 64 of a-z, 0-9, '.' and '-'")
        fields = self.fields()
        return ImageModel(
            name=self.name,
            adapter=self.text(fields, "adapter"),
            weights=self.weights(self.text(fields, "weights")),
            licence=self.text(fields, "licence"),
            steps=self.count(fields, "steps", most=MAX_STEPS),
            dtype=self.one_of(self.text(fields, "dtype"), "dtype", DTYPES),
            batch_limit=self.count(fields, "batch_limit", most=MAX_BATCH),
            options=MappingProxyType(self.options(fields)),
            price=self.price(self.subtable(fields, "price")),
            sources=self.count(fields, "sources", least=0, most=MAX_SOURCES),
            queue=self.queue(self.text(fields, "queue")),
        )

    def fields(self) -> dict[str, object]:
        if not isinstance(self.table, dict):
            raise self.problem("is not a table")
        for field in self.table:
            if field not in FIELDS + OPTIONAL_FIELDS:
                raise self.problem(f"has an unknown field {field!r}")
        for field in FIELDS:
            if field not in self.table:
                raise self.problem(f"lacks the field {field!r}")
        return {"sources": MAX_SOURCES, "queue": DEFAULT_QUEUE, **self.table}

    def text(self, fields: dict[str, object], field: str) -> str:
        value = fields[field]
        if not isinstance(value, str) or not value.strip():
            raise self.problem(f"{field} is not a text")
        return value

    def count(self, fields: dict[str, object], field: str, *, least: int = 1, most: int) -> int:
        value = fields[field]
        # True is an int to Python, and no number of anything.
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.problem(f"{field} is not a whole number from {least} to {most}")
        return value

    def queue(self, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", value) or value in RESERVED_QUEUES:
            reserved = " or ".join(RESERVED_QUEUES)
            raise self.problem(f"queue is 1 to 32 of a-z, 0-9 and '-', and not {reserved}")
        return value

    def one_of(self, value: str, field: str, known: tuple[str, ...]) -> str:
        if value not in known:
            raise self.problem(f"{field} is {value!r}, not one of {', '.join(known)}")
        return value

    def subtable(self, fields: dict[str, object], field: str) -> dict[str, object]:
        value = fields[field]
        if not isinstance(value, dict):
            raise self.problem(f"{field} is not a table")
        return value

    def options(self, fields: dict[str, object]) -> dict[str, object]:
        """As they are written; weights among them are found as those of the model are."""
        options = self.subtable(fields, "options")
        return {
            name: self.weights(value) if name.endswith("weights") and isinstance(value, str) else value
            for name, value in options.items()
        }

    def price(self, table: dict[str, object]) -> PriceRule:
        try:
            return PriceRule.parse(table)
        except ValueError as problem:
            raise self.problem(f"price: {problem}") from None

    def weights(self, text: str) -> str:
        folder = self.path.resolve().parent / text
        if text.startswith(("./", "/", "var/")) or folder.is_dir():
            return str(folder.resolve())
        return text

    def problem(self, why: str) -> CatalogueError:
        return CatalogueError(f"{self.path}: {self.name}: {why}")
