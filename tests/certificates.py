"""Files of certificates and keys that sign C2PA manifests, and the library's own reader."""

import importlib
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from zekron_api.local import certificate_authority


def signer_file(
    folder: Path, *, key: CertificateIssuerPrivateKeyTypes | None = None, now: datetime | None = None
) -> Path:
    """Write a file with a key, its certificate and that of its authority."""
    path = folder / "signer.pem"
    pem = certificate_authority.generate(
        key=key or certificate_authority.new_key(), now=now or datetime.now(UTC)
    )
    path.write_text(pem)
    return path


def manifests(content: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the active manifest of a file, and everything that the library's reader says."""
    c2pa = importlib.import_module("c2pa")
    with c2pa.Reader(io.BytesIO(content)) as reader:
        said = json.loads(reader.json())
    return said["manifests"][said["active_manifest"]], said
