"""C2PA manifests: signed by any kind of key that the standard knows, small, and beside what a file had."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.certificates import manifests, signer_file
from workers.gpu_worker import marking
from workers.imaging import c2pa_credential, c2pa_signing, encoders, inspection, xmp
from workers.imaging.c2pa_credential import InvalidCredential
from workers.imaging.c2pa_signing import CannotSign, Credential
from workers.imaging.encoders import Encoding, OutputFormat
from workers.imaging.xmp import SourceType

PACKET = xmp.write(source_type=SourceType.CREATED, software="Zekron", model="m")
PIXELS = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
PNG = encoders.encode(PIXELS, Encoding(), xmp=PACKET)


def read(path: Path) -> Credential:
    return c2pa_credential.read(certificate_file=path, key_file=path)


def signed(credential: Credential, content: bytes = PNG, mime_type: str = "image/png") -> bytes:
    return c2pa_signing.sign(
        content, mime_type=mime_type, credential=credential, manifest=marking.manifest("m")
    )


@pytest.fixture(scope="module")
def credential(tmp_path_factory: pytest.TempPathFactory) -> Credential:
    return read(signer_file(tmp_path_factory.mktemp("signer")))


@pytest.mark.parametrize("encoding", [Encoding(), Encoding(OutputFormat.JPEG), Encoding(OutputFormat.WEBP)])
def test_a_manifest_is_small_and_beside_all_that_the_file_had(
    credential: Credential, encoding: Encoding
) -> None:
    content = encoders.encode(PIXELS, encoding, xmp=PACKET)
    result = signed(credential, content, encoding.format.mime_type)
    assert 0 < len(result) - len(content) < 5000
    assert np.array_equal(encoders.decode(result), encoders.decode(content))
    assert inspection.inspect(result).source_type == SourceType.CREATED
    active, said = manifests(result)
    assert said["validation_state"] == "Valid"
    assert [each["code"] for each in said["validation_status"]] == ["signingCredential.untrusted"]
    assert {"ingredients", "thumbnail", "title"}.isdisjoint(active)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "Es384"),
        (ec.generate_private_key(ec.SECP521R1()), "Es512"),
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (rsa.generate_private_key(65537, 2048), "Ps256"),
    ],
    ids=["P-384", "P-521", "Ed25519", "RSA"],
)
def test_every_kind_of_key_signs(tmp_path: Path, key: Any, algorithm: str) -> None:
    active, said = manifests(signed(read(signer_file(tmp_path, key=key))))
    assert (active["signature_info"]["alg"], said["validation_state"]) == (algorithm, "Valid")


def test_many_threads_sign_at_once(credential: Credential) -> None:
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.append(signed(credential))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 8


@pytest.mark.parametrize("days", [-4000, 9])
def test_a_certificate_signs_while_it_is_valid(tmp_path: Path, days: int) -> None:
    expired = read(signer_file(tmp_path, now=datetime.now(UTC) + timedelta(days=days)))
    with pytest.raises(CannotSign, match="certificate was not valid at time of signing"):
        signed(expired)


def test_files_that_are_no_pair_are_refused_without_a_word_of_the_key(tmp_path: Path) -> None:
    mine = signer_file(tmp_path)
    other = tmp_path / "other.pem"
    other.write_text("-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n")
    (tmp_path / "another").mkdir()
    another = signer_file(tmp_path / "another")
    for certificate_file, key_file, said in [
        (other, mine, "other.pem is not a readable file of certificates in PEM"),
        (tmp_path / "none.pem", mine, "none.pem is not a readable file of certificates in PEM"),
        (mine, other, "other.pem is not a readable file of a private key in PEM without a password"),
        (mine, tmp_path, "is not a readable file of a private key in PEM without a password"),
        (mine, another, "is not that of the key in"),
    ]:
        with pytest.raises(InvalidCredential, match=said) as refused:
            c2pa_credential.read(certificate_file=certificate_file, key_file=key_file)
        assert "SECRET" not in str(refused.value)


def test_a_key_that_the_standard_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidCredential, match="has no key of P-256, P-384, P-521, Ed25519 or RSA"):
        read(signer_file(tmp_path, key=ec.generate_private_key(ec.SECP256K1())))


def test_a_credential_does_not_show_its_key(credential: Credential) -> None:
    assert "PRIVATE" not in repr(credential)
