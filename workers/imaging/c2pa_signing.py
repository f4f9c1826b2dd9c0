"""The writer of C2PA manifests (C2PA specification 2.4): signed statements in a file of how its picture was made.

The library is loaded with the first manifest, and need not be installed where none is written.
"""

import importlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

PACKAGE: Final = "c2pa"
# Nothing is fetched, no thumbnail is added, and the actions count as the signer's own statement.
SETTINGS: Final[dict[str, Any]] = {
    "builder": {"thumbnail": {"enabled": False}, "created_assertion_labels": ["c2pa.actions"]},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


class CannotSign(Exception):
    """The library refuses to sign."""


@dataclass(frozen=True)
class Credential:
    """A chain of certificates in PEM, the signer's first, its private key in PEM, and the name of its algorithm."""

    certificates: bytes
    private_key: bytes = field(repr=False)
    algorithm: str
    ends_at: datetime


class Ingredient(NamedTuple):
    """A picture that an edit was made from. `archive` is its own manifest as the reader has packed it, or nothing.

    The archive has this label and relationship too.
    """

    label: str
    relationship: str
    archive: bytes = b""


def is_installed() -> bool:
    """Return whether the library is there."""
    return find_spec(PACKAGE) is not None


def sign(
    content: bytes,
    *,
    mime_type: str,
    credential: Credential,
    manifest: dict[str, Any],
    ingredients: Sequence[Ingredient] = (),
) -> bytes:
    """Return the file with a signed manifest. Its pixels and its other metadata stay. Raise CannotSign.

    Each manifest has a random name, so equal arguments give different bytes. The interpreter's lock is free most of
    the time.
    """
    c2pa = importlib.import_module(PACKAGE)
    plain = [
        {"relationship": each.relationship, "label": each.label, "format": "image/png"}
        for each in ingredients
        if not each.archive
    ]
    signed = io.BytesIO()
    try:
        with (
            c2pa.Signer.from_info(
                c2pa.C2paSignerInfo(
                    credential.algorithm, credential.certificates, credential.private_key, None
                )
            ) as signer,
            c2pa.Builder({**manifest, "ingredients": plain}, _context()) as builder,
        ):
            for each in ingredients:
                if each.archive:
                    builder.add_ingredient_from_archive(io.BytesIO(each.archive))
            builder.sign(signer, mime_type, io.BytesIO(content), signed)
    except c2pa.C2paError as error:
        raise CannotSign(" ".join(str(error).split())) from None
    return signed.getvalue()


@cache
def _context() -> Any:
    c2pa = importlib.import_module(PACKAGE)
    return c2pa.Context.from_json(json.dumps(SETTINGS))
