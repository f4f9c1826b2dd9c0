import re
from typing import Any
from xml.etree import ElementTree

import pytest

from workers.imaging import xmp
from workers.imaging.xmp import SourceType

IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


def description(packet: bytes) -> dict[str, str]:
    """Return the attributes of the only description, as any reader of XML sees them."""
    root = ElementTree.fromstring(packet.decode())  # noqa: S314 (our own packet)
    [found] = root.iter(f"{RDF}Description")
    return found.attrib


@pytest.mark.parametrize("source_type", SourceType)
def test_a_packet_names_the_source_type_the_software_and_the_model_and_nothing_else(
    source_type: Any,
) -> None:
    packet = xmp.write(source_type=source_type, software="Zekron", model="zekron-image-1")
    assert description(packet) == {
        f"{RDF}about": "",
        "{http://ns.adobe.com/xap/1.0/}CreatorTool": "Zekron",
        f"{IPTC}AISystemUsed": "zekron-image-1",
        f"{IPTC}DigitalSourceType": source_type,
    }
    assert xmp.read_source_type(packet) == source_type
    assert len(packet) < 700


def test_a_name_cannot_break_out_of_its_attribute() -> None:
    name = """a "b" & <c> 'd' é"""
    packet = xmp.write(source_type=SourceType.EDITED, software=name, model=name)
    assert description(packet)[f"{IPTC}AISystemUsed"] == name
    assert xmp.read_source_type(packet) == SourceType.EDITED


@pytest.mark.parametrize(
    "text",
    [
        "<Iptc4xmpExt:DigitalSourceType>{}</Iptc4xmpExt:DigitalSourceType>",
        "<iptcExt:DigitalSourceType>\n  {}\n</iptcExt:DigitalSourceType>",
        '<Iptc4xmpExt:DigitalSourceType rdf:resource="{}"/>',
        "<a Iptc4xmpExt:DigitalSourceType = '{}'/>",
    ],
)
def test_the_source_type_of_other_writers_is_read(text: str) -> None:
    assert xmp.read_source_type(text.format(SourceType.CREATED).encode()) == SourceType.CREATED


@pytest.mark.parametrize(
    "packet", [b"", b"<x/>", b"DigitalSourceType", b'DigitalSourceType=""', b"DigitalSourceType>\xff<"]
)
def test_a_packet_without_a_source_type_has_none(packet: bytes) -> None:
    assert xmp.read_source_type(packet) is None


def test_a_packet_is_framed_as_the_standard_says() -> None:
    packet = xmp.write(source_type=SourceType.CREATED, software="Zekron", model="m").decode()
    assert re.fullmatch(
        r'<\?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"\?>.*<\?xpacket end="r"\?>', packet
    )
