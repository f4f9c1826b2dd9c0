"""The generation of a key, its certificate, and an authority that nobody trusts. It takes long to load."""

from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Ten years, so that a local machine needs no renewal.
LIFE: Final = timedelta(days=3650)
# The key usages of certificates (RFC 5280 §4.2.1.3).
_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new key for signatures by ES256."""
    return ec.generate_private_key(ec.SECP256R1())


def generate(*, key: CertificateIssuerPrivateKeyTypes, now: datetime) -> str:
    """Return the key, its certificate and that of a new authority in PEM, as C2PA asks (specification §14.5)."""
    authority_key = new_key()
    authority_name, name = _name("Zekron local authority"), _name("Zekron on a local machine")
    authority = (
        _started(authority_name, authority_name, authority_key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .sign(authority_key, SHA256())
    )
    certificate = (
        _started(name, authority_name, key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, SHA256())
    )
    parts = [
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        certificate.public_bytes(Encoding.PEM),
        authority.public_bytes(Encoding.PEM),
    ]
    return b"".join(parts).decode("ascii")


def _started(
    subject: x509.Name, issuer: x509.Name, key: CertificateIssuerPrivateKeyTypes, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks differ a little.
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    # Readers show the organisation as the signer.
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Zekron, not verified")
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*used: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in used for usage in _USAGES})
