"""Secrets for a local machine, generated once and kept in `var/secrets.json`, which only its owner can read."""

import base64
import hmac
import json
import secrets
from pathlib import Path
from typing import Final, NamedTuple

from zekron_api.local import private_file


class LocalSecrets(NamedTuple):
    """Defaults for the environment variables of the same names. None means that the variable must be set."""

    secret_key: str | None
    master_keys: str | None

    @property
    def provenance_keys(self) -> str | None:
        """The ring of one key for the digests of pictures, derived from the secret key."""
        if self.secret_key is None:
            return None
        key = hmac.digest(self.secret_key.encode(), b"zekron provenance", "sha256")
        return "local1:" + base64.b64encode(key).decode()


NONE: Final = LocalSecrets(secret_key=None, master_keys=None)


def load_or_create(var: Path) -> LocalSecrets:
    """Return the secrets under `var`, and generate them first if none exist.

    Many processes may call it at once.
    """
    path = var / "secrets.json"
    if not path.exists():
        _create(path)
    return LocalSecrets(**json.loads(path.read_text()))


def _create(path: Path) -> None:
    made_up = LocalSecrets(
        secret_key=secrets.token_urlsafe(48),
        master_keys="local1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
    )
    private_file.create(path, json.dumps(made_up._asdict()))
