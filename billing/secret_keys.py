"""The ring of secret keys: the present one makes digests and tokens, and former ones still recognise theirs."""

from collections.abc import Callable
from typing import TypeVar

from django.conf import settings

T = TypeVar("T")


def with_each(make: Callable[[str], T]) -> list[T]:
    """Return what `make` makes of each secret key, first of the present one."""
    return [make(secret_key) for secret_key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]
