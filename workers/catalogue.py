"""Catalogue of the public models, read strictly from the models file.

It knows the properties and the price of each model, and not how a model runs.
"""

import math
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

# The default for a request that names no model.
DEFAULT_MODEL = "zekron-image-1"

DTYPES = ("float32", "bfloat16", "float16")
MAX_STEPS = 200
MAX_BATCH = 64
MAX_SOURCES = 2
# The most images that a request for a model may ask for, and the most without a line in the file.
MAX_N = 10
DEFAULT_MAX_N = 4
MAX_PROMPT_TOKENS = 100_000
DEFAULT_QUEUE = "gpu"
# The service uses these queues for its own tasks.
RESERVED_QUEUES = ("chores", "celery")
FIELDS = ("adapter", "weights", "licence", "steps", "dtype", "batch_limit", "options", "price")
OPTIONAL_FIELDS = ("sources", "queue", "max_n", "max_prompt_tokens")
# The adapter of models that another server runs. Of it, this service knows neither the steps nor the dtype.
REMOTE_ADAPTER = "remote"
_OF_REMOTE: Mapping[str, object] = {"steps": 1, "dtype": "float32"}
# The option of that adapter with the fields that its server does not take.
OMITTED_FIELDS = "omit"
# The adapters whose latents can be painted under a mask, and become partial images.
LATENT_ADAPTERS = ("flux2-klein", "qwen-image", "stable-diffusion-xl")
# The adapters whose pipelines take a negative prompt. FLUX.2-klein was distilled without one.
NEGATIVE_PROMPT_ADAPTERS = ("qwen-image", "stable-diffusion-xl")
# The table of the models file that describes no model: other names, of which ANY_NAME is every name that is unknown.
ALIASES = "aliases"
ANY_NAME = "*"
_ALIAS = re.compile(r"[A-Za-z0-9._:/-]{1,128}")


class CatalogueError(Exception):
    """The models file is invalid. The message gives the place and the reason in one line."""


@dataclass(frozen=True, kw_only=True)
class ImageModel:
    """A public model.

    `weights` is an absolute folder or a hub id. The adapter passes `options` on. An edit has at most `sources` images.
    A request asks for at most `max_n` images. The workers that consume `queue` make the model's generations.
    `max_prompt_tokens` tells clients how many tokens of a prompt it reads. None says nothing. A worker counts the
    tokens by itself.
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
    max_n: int = DEFAULT_MAX_N
    max_prompt_tokens: int | None = None

    @property
    def takes_masks(self) -> bool:
        """Return whether an edit may have a mask."""
        return self.sources > 0 and self.adapter in LATENT_ADAPTERS

    @property
    def takes_partial_images(self) -> bool:
        """Return whether those who watch can see the unfinished picture, which a single step never shows."""
        return self.steps > 1 and self.adapter in LATENT_ADAPTERS

    @property
    def takes_seed(self) -> bool:
        """Return whether a request may choose the seed, which a remote server may not know."""
        omitted = self.options.get(OMITTED_FIELDS)
        return self.adapter != REMOTE_ADAPTER or not isinstance(omitted, list) or "seed" not in omitted

    @property
    def takes_negative_prompt(self) -> bool:
        """Return whether a request may say what the picture should not show."""
        guidance_scale = self.options.get("guidance_scale", math.inf)
        # Without guidance, a pipeline does not read it.
        is_guided = isinstance(guidance_scale, int | float) and guidance_scale > 1
        return is_guided and self.adapter in NEGATIVE_PROMPT_ADAPTERS


def catalogue() -> Mapping[str, ImageModel]:
    """Return the models of the settings' file by name, read once per process.

    Raise CatalogueError for an invalid file. Raise it also for a model whose licence forbids paid use, unless the
    settings allow that model.
    """
    return _load_once(Path(settings.MODELS_FILE), settings.ALLOW_NONCOMMERCIAL)


def aliases() -> Mapping[str, str]:
    """Return the other names of the models in the settings' file, each with the model's own. Raise CatalogueError."""
    return _load_aliases_once(Path(settings.MODELS_FILE))


def find_model(name: str) -> ImageModel | None:
    """Return the model of this name or alias, or None. Raise CatalogueError."""
    models, others = catalogue(), aliases()
    return models.get(name) or models.get(others.get(name) or others.get(ANY_NAME, ""))


def known_names() -> list[str]:
    """Return the names of the models, and then the aliases. Raise CatalogueError."""
    return [*catalogue(), *(alias for alias in aliases() if alias != ANY_NAME)]


def models_of(queues: Collection[str]) -> list[ImageModel]:
    """Return the models of the settings' file that use these queues. Raise CatalogueError."""
    return [model for model in catalogue().values() if model.queue in queues]


def load(path: Path) -> Mapping[str, ImageModel]:
    """Return the models of a TOML file by name, which include the default model. Raise CatalogueError."""
    tables = _read(path)
    models = {
        name: _Entry(path=path, name=name, table=table).model()
        for name, table in tables.items()
        if name != ALIASES
    }
    if DEFAULT_MODEL not in models:
        raise CatalogueError(f"{path}: has no {DEFAULT_MODEL}, the default model")
    return MappingProxyType(models)


def load_aliases(path: Path) -> Mapping[str, str]:
    """Return the aliases of a TOML file, each of which stands for one of its models. Raise CatalogueError."""
    tables = _read(path)
    table = tables.get(ALIASES, {})
    if not isinstance(table, dict):
        raise CatalogueError(f"{path}: {ALIASES}: is not a table")
    for alias, name in table.items():
        if alias != ANY_NAME and not _ALIAS.fullmatch(alias):
            raise CatalogueError(
                f"{path}: {ALIASES}: {alias!r} is neither {ANY_NAME!r} nor 1 to 128 letters, digits and ._:/-"
            )
        if alias in tables:
            raise CatalogueError(f"{path}: {ALIASES}: {alias!r} is the name of a model")
        if not isinstance(name, str) or name not in tables or name == ALIASES:
            raise CatalogueError(
                f"{path}: {ALIASES}: {alias!r} stands for {name!r}, which is no model of this file"
            )
    return MappingProxyType(table)


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise CatalogueError(f"{path}: cannot be read: {problem.strerror}") from None
    except ValueError as problem:
        raise CatalogueError(f"{path}: is not TOML: {problem}") from None


@cache
def _load_aliases_once(path: Path) -> Mapping[str, str]:
    return load_aliases(path)


@cache
def _load_once(path: Path, allowed: frozenset[str]) -> Mapping[str, ImageModel]:
    models = load(path)
    # A mistake in the aliases is found when a process starts.
    load_aliases(path)
    for model in models.values():
        if licences.forbids_paid_use(model.licence) and model.name not in allowed:
            raise CatalogueError(
                f"{path}: {model.name}: its licence {model.licence} forbids paid use;"
                f" if you have another licence, set ALLOW_NONCOMMERCIAL={model.name}"
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
            max_n=self.count(fields, "max_n", most=MAX_N),
            max_prompt_tokens=self.optional_count(fields, "max_prompt_tokens", most=MAX_PROMPT_TOKENS),
        )

    def fields(self) -> dict[str, object]:
        if not isinstance(self.table, dict):
            raise self.problem("is not a table")
        for field in self.table:
            if field not in FIELDS + OPTIONAL_FIELDS:
                raise self.problem(f"has an unknown field {field!r}")
        known = _OF_REMOTE if self.table.get("adapter") == REMOTE_ADAPTER else {}
        for field in FIELDS:
            if field not in self.table and field not in known:
                raise self.problem(f"lacks the field {field!r}")
        defaults = {"sources": MAX_SOURCES, "queue": DEFAULT_QUEUE, "max_n": DEFAULT_MAX_N}
        return {**defaults, **known, **self.table}

    def text(self, fields: dict[str, object], field: str) -> str:
        value = fields[field]
        if not isinstance(value, str) or not value.strip():
            raise self.problem(f"{field} is not a text")
        return value

    def count(self, fields: dict[str, object], field: str, *, least: int = 1, most: int) -> int:
        value = fields[field]
        # True is an int in Python, but it is not a count.
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.problem(f"{field} is not a whole number from {least} to {most}")
        return value

    def optional_count(self, fields: dict[str, object], field: str, *, most: int) -> int | None:
        return self.count(fields, field, most=most) if field in fields else None

    def queue(self, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", value) or value in RESERVED_QUEUES:
            reserved = " or ".join(RESERVED_QUEUES)
            raise self.problem(f"queue is 1 to 32 of a-z, 0-9 and '-', but not {reserved}")
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
        """Return the options as written, with the paths of weights resolved as for the model's own weights."""
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
        if not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", text):
            raise self.problem(f"weights is {text!r}: neither a folder nor owner/name@revision on the hub")
        return text

    def problem(self, why: str) -> CatalogueError:
        return CatalogueError(f"{self.path}: {self.name}: {why}")
