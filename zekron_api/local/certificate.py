"""The certificate that signs pictures on a local machine, generated once under `var/c2pa.pem`. Nobody trusts it."""

from datetime import UTC, datetime
from pathlib import Path

from zekron_api.local import private_file


def load_or_create(var: Path) -> Path:
    """Return the file under `var` with the key, its certificate and that of the authority.

    They are generated first if there are none. Many processes may call it at once.
    """
    path = var / "c2pa.pem"
    if not path.exists():
        from zekron_api.local import certificate_authority  # noqa: PLC0415 (it takes long to load)

        key = certificate_authority.new_key()
        private_file.create(path, certificate_authority.generate(key=key, now=datetime.now(UTC)))
    return path
