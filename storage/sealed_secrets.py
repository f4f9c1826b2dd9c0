"""Secrets that the service must read again, wrapped by a master key as content keys are.

The module does not know what a secret is for.
"""

import secrets
from typing import Final

from storage import keyring
from storage.models import SealedSecret

SECRET_BYTE_COUNT: Final = 32


def create() -> SealedSecret:
    """Make a random secret, and store it wrapped by the first master key."""
    wrapped = keyring.wrap(content_key=secrets.token_bytes(SECRET_BYTE_COUNT))
    return SealedSecret.objects.create(**wrapped._asdict())


def read(*, secret: SealedSecret) -> bytes:
    """Return the bytes of the secret. Raise KeyRefused when no master key opens it."""
    _, content = keyring.unwrap_by_any(
        master_key_id=secret.master_key_id, wrapped_key=bytes(secret.wrapped_key)
    )
    return content


def rewrap(*, secret: SealedSecret) -> bool:
    """Rewrap the secret unless the first master key wraps it already, and return whether it was rewrapped.

    Raise KeyRefused when no master key opens it. A secret that was deleted since it was read stays deleted.
    """
    opener_id, content = keyring.unwrap_by_any(
        master_key_id=secret.master_key_id, wrapped_key=bytes(secret.wrapped_key)
    )
    wrapped = keyring.wrap(content_key=content)
    if (opener_id, secret.master_key_id) == (wrapped.master_key_id, wrapped.master_key_id):
        return False
    unchanged = SealedSecret.objects.filter(pk=secret.pk, wrapped_key=secret.wrapped_key)
    return unchanged.update(**wrapped._asdict()) == 1
