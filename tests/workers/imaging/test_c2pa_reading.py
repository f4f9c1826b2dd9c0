"""C2PA manifests of strangers: read by a process of its own, which fetches nothing and whose end costs one file."""

import importlib
import io
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.certificates import manifests, signer_file
from tests.images import saved
from workers.gpu_worker import marking
from workers.imaging import c2pa_credential, c2pa_reading, c2pa_signing, encoders, source_manifest
from workers.imaging.c2pa_reading import Manifest
from workers.imaging.c2pa_signing import Credential
from workers.imaging.xmp import SourceType

pytestmark = pytest.mark.processes
PNG = encoders.encode(np.full((64, 96, 3), 90, np.uint8), encoders.Encoding())
BROKEN = Manifest(is_valid=False, is_trusted=False, source_type=None)


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return signer_file(tmp_path_factory.mktemp("signer"))


@pytest.fixture(scope="module")
def credential(signer: Path) -> Credential:
    return c2pa_credential.read(certificate_file=signer, key_file=signer)


@pytest.fixture(scope="module")
def signed(credential: Credential) -> bytes:
    return c2pa_signing.sign(
        PNG, mime_type="image/png", credential=credential, manifest=marking.manifest("m")
    )


def test_who_is_trusted_is_the_operators_choice(signed: bytes, signer: Path, tmp_path: Path) -> None:
    other = signer_file(tmp_path, now=datetime.now(UTC))
    for anchors, is_trusted in [(None, False), (other, False), (signer, True)]:
        assert c2pa_reading.read(signed, trust_anchors=anchors) == Manifest(
            is_valid=True, is_trusted=is_trusted, source_type=SourceType.CREATED
        )


def test_another_pixel_makes_a_manifest_invalid(signed: bytes, signer: Path) -> None:
    place = signed.index(b"IDAT") + 10
    changed = signed[:place] + bytes([signed[place] ^ 1]) + signed[place + 1 :]
    assert c2pa_reading.read(changed, trust_anchors=signer) == Manifest(
        is_valid=False, is_trusted=False, source_type=SourceType.CREATED
    )


def test_a_manifest_that_cannot_be_read_is_not_valid_and_no_manifest_is_none(signed: bytes) -> None:
    place = signed.index(b"c2pa.claim")
    assert c2pa_reading.read(signed[:place] + b"\xff" * 40 + signed[place + 40 :]) == BROKEN
    assert c2pa_reading.read(PNG) is None
    assert c2pa_reading.read(PNG + b"jumb c2pa") is None


def test_a_reader_that_takes_too_long_ends(signed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c2pa_reading, "MAX_SECONDS", 0.001)
    assert c2pa_reading.read(signed) == BROKEN
    assert c2pa_reading.pack(signed, relationship="parentOf", label="a") == b""


def test_without_the_library_nothing_is_read(signed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c2pa_signing, "is_installed", lambda: False)
    assert c2pa_reading.read(signed) is None
    assert c2pa_reading.pack(signed, relationship="parentOf", label="a") == b""


def test_a_manifest_elsewhere_is_not_fetched(credential: Credential) -> None:
    """A file may name any address, also one inside the network of the service."""
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    c2pa = importlib.import_module("c2pa")
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            builder = c2pa.Builder(marking.manifest("m"))
            builder.set_no_embed()
            builder.set_remote_url(f"http://127.0.0.1:{server.server_port}/manifest.c2pa")
            info = c2pa.C2paSignerInfo(
                credential.algorithm, credential.certificates, credential.private_key, None
            )
            remote = io.BytesIO()
            builder.sign(c2pa.Signer.from_info(info), "image/png", io.BytesIO(PNG), remote)
            assert b"manifest.c2pa" in remote.getvalue()
            # The names of the boxes, which have the file read at all.
            content = remote.getvalue() + b"jumb c2pa"
            assert c2pa_reading.read(content) is None
            assert c2pa_reading.pack(content, relationship="parentOf", label="a") == b""
        finally:
            server.shutdown()
            thread.join()
    assert asked == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "GIF"])
def test_the_manifest_of_a_source_is_part_of_what_is_made_from_it(credential: Credential, kind: str) -> None:
    mime_type = f"image/{kind.lower()}"
    source = c2pa_signing.sign(
        saved(Image.new("RGB", (96, 64), "orange"), kind),
        mime_type=mime_type,
        credential=credential,
        manifest=marking.manifest("other"),
    )
    sealed = source_manifest.carry_over(PNG, original=source, position=0)
    assert source_manifest.split(sealed)[0] == PNG
    assert np.array_equal(encoders.decode(sealed), encoders.decode(PNG))
    ingredients = [source_manifest.ingredient(0, archive=source_manifest.split(sealed)[1])]
    made = c2pa_signing.sign(
        PNG,
        mime_type="image/png",
        credential=credential,
        manifest=marking.manifest("m", source_count=1),
        ingredients=ingredients,
    )
    active, said = manifests(made)
    [parent] = active["ingredients"]
    assert (said["validation_state"], parent["relationship"], parent["format"]) == (
        "Valid",
        "parentOf",
        mime_type,
    )
    assert parent["active_manifest"] == manifests(source)[1]["active_manifest"]
    assert [each["code"] for each in parent["validation_results"]["activeManifest"]["failure"]] == [
        "signingCredential.untrusted"
    ]


def test_a_source_without_a_readable_manifest_has_none(signed: bytes) -> None:
    place = signed.index(b"c2pa.claim")
    broken = signed[:place] + b"\xff" * 40 + signed[place + 40 :]
    for content in (PNG, broken, PNG + b"jumb c2pa"):
        assert source_manifest.carry_over(PNG, original=content, position=0) == PNG


def test_a_manifest_above_the_limit_is_not_carried_over(
    signed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c2pa_reading, "MAX_ARCHIVE_BYTES", 1000)
    assert source_manifest.carry_over(PNG, original=signed, position=0) == PNG
