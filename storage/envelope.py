"""The format of an object in the store: an image that is sealed so that only its row can open it.

    magic "ZKRN" · version · algorithm · master key's id when sealed · IV (16) · ciphertext · tag (32)

One byte of length precedes the algorithm and one precedes the id. The header only tells people what an object is.
The algorithm and the keys come from the row. The module knows no database, no store and no master key.
"""

import secrets
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from storage import a256cbc_hs512
from storage.a256cbc_hs512 import IV_BYTE_COUNT, TAG_BYTE_COUNT, SealBroken

ALGORITHM: Final = "A256CBC-HS512"
CONTENT_KEY_BYTE_COUNT: Final = 32
# The sum of the header with both names at their longest, the IV, a whole block of padding and the tag.
MAX_OVERHEAD_BYTE_COUNT: Final = 5 + 2 * 256 + IV_BYTE_COUNT + 16 + TAG_BYTE_COUNT

_MAGIC_AND_VERSION: Final = b"ZKRN\x01"
_KEYS_LABEL: Final = b"zekron storage 1: MAC key and encryption key of A256CBC-HS512"


def seal(
    *, content: bytes, content_key: bytes, master_key_id: str, associated_data: str, mime_type: str
) -> bytes:
    """Seal `content` and return the bytes of its object.

    `content_key` is 32 random bytes and seals this one image only. `unseal` needs the same `associated_data`.
    """
    header = _header(ALGORITHM) + _short(master_key_id)
    iv = secrets.token_bytes(IV_BYTE_COUNT)
    associated = _associated(header, associated_data, len(content), mime_type)
    keys = _keys(content_key)
    ciphertext, tag = a256cbc_hs512.encrypt(key=keys, iv=iv, plaintext=content, associated=associated)
    return b"".join((header, iv, ciphertext, tag))


def unseal(
    *,
    sealed: bytes,
    content_key: bytes,
    algorithm: str,
    associated_data: str,
    mime_type: str,
    byte_count: int,
) -> bytes:
    """Return the content of the object `sealed`.

    Raises SealBroken unless every byte and every argument is the same as when the content was sealed.
    """
    header, body = _split(sealed, algorithm)
    return a256cbc_hs512.decrypt(
        key=_keys(content_key),
        iv=body[:IV_BYTE_COUNT],
        ciphertext=body[IV_BYTE_COUNT:-TAG_BYTE_COUNT],
        tag=body[-TAG_BYTE_COUNT:],
        associated=_associated(header, associated_data, byte_count, mime_type),
    )


def _split(sealed: bytes, algorithm: str) -> tuple[bytes, memoryview]:
    start = _header(algorithm)
    if algorithm != ALGORITHM or not sealed.startswith(start) or len(sealed) == len(start):
        raise SealBroken
    # The id may differ from the row's, because a rotation rewraps the row's key and does not change the object.
    # The tag covers the id like the rest of the header.
    end = len(start) + 1 + sealed[len(start)]
    return sealed[:end], memoryview(sealed)[end:]


def _header(algorithm: str) -> bytes:
    return _MAGIC_AND_VERSION + _short(algorithm)


def _short(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(1, "big") + encoded


def _associated(header: bytes, associated_data: str, byte_count: int, mime_type: str) -> bytes:
    # The length precedes every field, so that no two lists of fields give the same bytes.
    fields = (header, associated_data.encode(), byte_count.to_bytes(8, "big"), mime_type.encode())
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def _keys(content_key: bytes) -> bytes:
    # Both keys derive from the content key, so the tag commits to it and no object opens under two keys.
    if len(content_key) != CONTENT_KEY_BYTE_COUNT:
        raise ValueError(f"A content key has {CONTENT_KEY_BYTE_COUNT} bytes, not {len(content_key)}.")
    hkdf = HKDF(SHA512(), length=a256cbc_hs512.KEY_BYTE_COUNT, salt=None, info=_KEYS_LABEL)
    return hkdf.derive(content_key)
