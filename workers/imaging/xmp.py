"""XMP packets that say how a picture was made, in the words of the IPTC. They hold nothing of a client or a request.

The properties are those of the IPTC Photo Metadata Standard 2025.1, and the packet's frame is that of ISO 16684-1.
"""

import re
from enum import StrEnum
from typing import Final
from xml.sax.saxutils import quoteattr

_NEWSCODES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_PACKET: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    " xmp:CreatorTool={software} Iptc4xmpExt:AISystemUsed={model} Iptc4xmpExt:DigitalSourceType={source_type}/>"
    '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)
# The property may be an attribute, an element with a text, or an element with an attribute that names a resource.
_FOUND: Final = re.compile(
    rb"""DigitalSourceType(?:\s+rdf:resource)?\s*(?:=\s*["']|>\s*)([!-~]{1,200}?)\s*["'<]"""
)


class SourceType(StrEnum):
    """The terms of the IPTC's vocabulary of digital source types for pictures that this service makes."""

    CREATED = f"{_NEWSCODES}trainedAlgorithmicMedia"
    EDITED = f"{_NEWSCODES}compositeWithTrainedAlgorithmicMedia"


def write(*, source_type: SourceType, software: str, model: str) -> bytes:
    """Return the packet in UTF-8. Equal arguments give equal bytes."""
    packet = _PACKET.format(
        software=quoteattr(software), model=quoteattr(model), source_type=quoteattr(source_type)
    )
    return packet.encode()


def read_source_type(packet: bytes) -> str | None:
    """Return the digital source type of any packet in UTF-8, as the file has it, or None without one."""
    found = _FOUND.search(packet)
    return found[1].decode("ascii") if found else None
