"""The mark that says of every picture that it was generated. PROVENANCE chooses its kind.

It names the service and the model, and nothing of the prompt, the account, the generation or the time.
"""

from functools import cache
from typing import Final

from django.conf import settings

from workers.imaging import xmp
from workers.imaging.xmp import SourceType
from workers.models import Generation, Kind

SOFTWARE: Final = "Zekron"
NONE: Final = "none"


def provenance() -> str:
    """Return the kind of mark that pictures get now, or an empty text for none."""
    return "" if settings.PROVENANCE == NONE else settings.PROVENANCE


def xmp_packet(generation: Generation) -> bytes:
    """Return the packet for a picture of this generation, or nothing if pictures get no mark."""
    return _packet(generation.kind, generation.model) if provenance() else b""


@cache
def _packet(kind: str, model: str) -> bytes:
    source_type = SourceType.EDITED if kind == Kind.EDIT else SourceType.CREATED
    return xmp.write(source_type=source_type, software=SOFTWARE, model=model)
