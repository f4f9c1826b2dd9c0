"""Second factors of people: which count, how their secrets are sealed, and their removal for somebody who lost them."""

from typing import Any, Final

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.utils.http import urlsafe_base64_encode

from storage import sealed_secrets
from storage.models import SealedSecret

# Codes for recovery stand in for one of these, and are none by themselves.
_FACTORS: Final = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
# The parts of an authenticator's data that `encrypt` made.
_SEALED: Final = ("secret", "seed")


class SealingAdapter(DefaultMFAAdapter):  # type: ignore[misc] # the library has no types
    """The adapter of second factors, which stores each secret under a key of its own that a master key wraps.

    `rotate_master_key` therefore covers them.
    """

    def encrypt(self, text: str) -> str:
        """Return the sealed text, after the number of its key."""
        key = sealed_secrets.create()
        return f"{key.pk}:{_cipher(key).encrypt(text.encode()).decode()}"

    def generate_authenticator_name(self, user: AbstractBaseUser, type: Authenticator.Type) -> str:
        """Return the name that the form of a new key begins with."""
        return f"Key {Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1}"

    def decrypt(self, encrypted_text: str) -> str:
        """Return the text. Raises KeyRefused when no master key opens it."""
        number, _, sealed = encrypted_text.partition(":")
        return _cipher(SealedSecret.objects.get(pk=number)).decrypt(sealed.encode()).decode()


def has_one(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Return whether the person proves a login by an app or a key, beside the password."""
    return bool(Authenticator.objects.filter(user_id=user.pk, type__in=_FACTORS).exists())


def reset(*, user_id: int) -> int:
    """Remove every second factor of the person, and return their number. May be called twice."""
    removed = list(Authenticator.objects.filter(user_id=user_id))
    for authenticator in removed:
        authenticator.delete()
    return len(removed)


def destroy_keys(*, instance: Any, **_signal: Any) -> None:
    """Destroy the keys of a second factor that is deleted."""
    numbers = [instance.data[part].partition(":")[0] for part in _SEALED if part in instance.data]
    SealedSecret.objects.filter(pk__in=numbers).delete()


def _cipher(key: SealedSecret) -> Fernet:
    return Fernet(urlsafe_base64_encode(sealed_secrets.read(secret=key)) + "=")
