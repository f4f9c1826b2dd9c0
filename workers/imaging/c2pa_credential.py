"""The certificate and the key of who signs C2PA manifests, read from files in PEM.

The parsers of certificates take long to load, so this module is imported only where pictures are signed.
"""

from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from workers.imaging.c2pa_signing import Credential

_ALGORITHMS_BY_CURVE: Final = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


class InvalidCredential(Exception):
    """The certificate and the private key cannot sign."""


def read(*, certificate_file: Path, key_file: Path) -> Credential:
    """Read both files in PEM. Raise InvalidCredential, whose message quotes nothing of the key."""
    try:
        certificates = x509.load_pem_x509_certificates(certificate_file.read_bytes())
    except (OSError, ValueError):
        raise InvalidCredential(f"{certificate_file} is not a readable file of certificates in PEM") from None
    try:
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        raise InvalidCredential(
            f"{key_file} is not a readable file of a private key in PEM without a password"
        ) from None
    if _public_bytes(key.public_key()) != _public_bytes(certificates[0].public_key()):
        raise InvalidCredential(
            f"the first certificate in {certificate_file} is not that of the key in {key_file}"
        )
    return Credential(
        certificates=b"".join(each.public_bytes(Encoding.PEM) for each in certificates),
        private_key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        algorithm=_algorithm_of(key, key_file),
        ends_at=certificates[0].not_valid_after_utc,
    )


def _public_bytes(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _algorithm_of(key: PrivateKeyTypes, key_file: Path) -> str:
    """Return the C2PA's name of the algorithm (specification §13.2) for this kind of key."""
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _ALGORITHMS_BY_CURVE:
        return _ALGORITHMS_BY_CURVE[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    raise InvalidCredential(f"{key_file} has no key of P-256, P-384, P-521, Ed25519 or RSA")
