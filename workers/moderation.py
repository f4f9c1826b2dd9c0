"""The operator's hook that refuses requests and pictures by content. The service brings no judgement of its own.

`MODERATION` names a Python module. It may define `check_request(*, prompt: str, images: Sequence[bytes])`, called with
the source images as PNG files, and `check_picture(*, picture: numpy.ndarray)`, called with uint8 of shape (height,
width, 3). Both return a category such as "violence", or None if they have no objection. They may be called from
several threads at once.
"""

import logging
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Final

from django.conf import settings

log = logging.getLogger(__name__)

# The type of the error of a refused request, and of a generation whose picture was refused.
CONTENT_POLICY_VIOLATION: Final = "content_policy_violation"
# A category goes into logs and rows, so it must not have anything of the prompt.
_CATEGORY: Final = re.compile(r"[a-z0-9_/-]{1,64}")
_UNNAMED: Final = "unnamed"


class ContentRefused(Exception):
    """The operator's hook refused a request or a picture. `category` is its reason."""

    def __init__(self, category: str) -> None:
        super().__init__(category)
        self.category = category


class ModerationFailed(Exception):
    """The operator's hook could not be asked, and nothing is made without it."""


def refuse_request(*, prompt: str, images: Sequence[bytes]) -> None:
    """Raise ContentRefused for a request that the hook refuses, or ModerationFailed if the hook fails."""
    _refuse("check_request", prompt=prompt, images=images)


def refuse_picture(*, picture: Any) -> None:
    """Raise ContentRefused for a picture that the hook refuses, or ModerationFailed if the hook fails."""
    _refuse("check_picture", picture=picture)


def find_hook(name: str) -> Callable[..., str | None] | None:
    """Return the function of the operator's module, or None without one. Raise ImportError for a missing module."""
    return _find(settings.MODERATION, name) if settings.MODERATION else None


def _refuse(name: str, **what: object) -> None:
    try:
        hook = find_hook(name)
        category = hook(**what) if hook else None
    # The hook is foreign code and may raise anything. Its message may have the prompt, so it is not logged.
    except Exception as error:
        log.error("the moderation hook %s failed: %s", name, type(error).__name__)
        if settings.MODERATION_FAILS_OPEN:
            return
        raise ModerationFailed from error
    if category is not None:
        shown = category if isinstance(category, str) and _CATEGORY.fullmatch(category) else _UNNAMED
        log.info("the moderation hook %s refused: %s", name, shown)
        raise ContentRefused(shown)


@cache
def _find(module_name: str, name: str) -> Callable[..., str | None] | None:
    module = import_module(module_name)
    hook: Callable[..., str | None] | None = getattr(module, name, None)
    return hook
