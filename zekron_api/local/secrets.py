"""Secrets for a local machine, generated once and kept in `var/secrets.json`, which only its owner can read."""

import base64
import contextlib
import hmac
import json
import os
import secrets
from pathlib import Path
from typing import Final, NamedTuple


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
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made_up = LocalSecrets(
        secret_key=secrets.token_urlsafe(48),
        master_keys="local1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
    )
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(made_up._asdict(), file)
        file.flush()
        os.fsync(file.fileno())
    # The creation of a link is atomic, and the first process to create it wins.
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
