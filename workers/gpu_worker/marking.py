"""The mark that says of every picture that it was generated. PROVENANCE chooses its kind.

It names the service and the model, and nothing of the prompt, the account, the generation or the time. XMP is a text.
A C2PA manifest is signed, and says the same beside it.
"""

import logging
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from django.conf import settings

from workers.engine.interface import Misconfigured
from workers.imaging import c2pa_signing, encoders, source_manifest, xmp
from workers.imaging.c2pa_signing import CannotSign, Credential
from workers.imaging.xmp import SourceType
from workers.models import Generation, Kind

log = logging.getLogger(__name__)

SOFTWARE: Final = "Zekron"
NONE: Final = "none"
C2PA: Final = "c2pa"


def provenance() -> str:
    """Return the kind of mark that pictures get now, or an empty text for none."""
    return "" if settings.PROVENANCE == NONE else settings.PROVENANCE


def xmp_packet(generation: Generation) -> bytes:
    """Return the packet for a picture of this generation, or nothing if pictures get no mark."""
    return _packet(generation.kind, generation.model) if provenance() else b""


def sign(
    content: bytes, *, mime_type: str, generation: Generation, source_manifests: Sequence[bytes] = ()
) -> bytes:
    """Return the file with a signed manifest if pictures get one, and else as it is. Raise CannotSign.

    An edit has an item of `source_manifests` for each source image, which is the archive of its manifest or empty.
    """
    if provenance() != C2PA:
        return content
    return c2pa_signing.sign(
        content,
        mime_type=mime_type,
        credential=_credential(),
        manifest=manifest(generation.model, source_count=len(source_manifests)),
        ingredients=[
            source_manifest.ingredient(position, archive=archive)
            for position, archive in enumerate(source_manifests)
        ],
    )


def manifest(model: str, *, source_count: int = 0) -> dict[str, Any]:
    """Return the manifest of a picture that was created, or edited from source images."""
    agent = {"name": SOFTWARE, "model": model}
    labels = [source_manifest.ingredient(position).label for position in range(source_count)]
    actions: list[dict[str, Any]]
    if labels:
        # An edit begins with its parent, or else the manifest is malformed (C2PA specification §15.10.1.2).
        edited = {
            "action": "c2pa.edited",
            "softwareAgent": agent,
            "digitalSourceType": SourceType.EDITED.value,
        }
        if labels[1:]:
            edited["parameters"] = {"ingredientIds": labels[1:]}
        actions = [{"action": "c2pa.opened", "parameters": {"ingredientIds": labels[:1]}}, edited]
    else:
        created = {
            "action": "c2pa.created",
            "softwareAgent": agent,
            "digitalSourceType": SourceType.CREATED.value,
        }
        actions = [created]
    return {
        "claim_generator_info": [{"name": SOFTWARE}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }


def check() -> None:
    """Sign a picture of one pixel, if pictures are signed, so that a worker does not start without being able to.

    Raise Misconfigured.
    """
    if provenance() != C2PA:
        return
    if not c2pa_signing.is_installed():
        raise Misconfigured(
            "PROVENANCE is c2pa, and the package c2pa-python of requirements/c2pa.txt is not installed"
        )
    pixel = encoders.encode(np.zeros((1, 1, 3), np.uint8), encoders.Encoding())
    credential = _credential()
    try:
        c2pa_signing.sign(pixel, mime_type="image/png", credential=credential, manifest=manifest("none"))
    except CannotSign as error:
        raise Misconfigured(f"{settings.C2PA_CERT} does not sign C2PA manifests: {error}") from None
    log.info("pictures are signed by %s until %s", settings.C2PA_CERT, credential.ends_at)


def _credential() -> Credential:
    return _read_credential(settings.C2PA_CERT, settings.C2PA_KEY)


@cache
def _read_credential(certificate_file: Any, key_file: Any) -> Credential:
    from workers.imaging import c2pa_credential  # noqa: PLC0415 (it takes long to load)

    try:
        return c2pa_credential.read(certificate_file=certificate_file, key_file=key_file)
    except c2pa_credential.InvalidCredential as error:
        raise Misconfigured(f"C2PA_CERT and C2PA_KEY: {error}") from None


@cache
def _packet(kind: str, model: str) -> bytes:
    source_type = SourceType.EDITED if kind == Kind.EDIT else SourceType.CREATED
    return xmp.write(source_type=source_type, software=SOFTWARE, model=model)
