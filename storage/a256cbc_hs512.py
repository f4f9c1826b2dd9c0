"""The cipher A256CBC-HS512 of RFC 7518 §5.2.5: AES-256-CBC, then HMAC-SHA-512 over all that is not secret.

The module owns only the arithmetic. It does not know the content, the source of the keys or the source of the IV.
"""

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

KEY_BYTE_COUNT: Final = 64
IV_BYTE_COUNT: Final = 16
TAG_BYTE_COUNT: Final = 32
BLOCK_BYTE_COUNT: Final = 16

# A memoryview passes a part of a longer object without copying it.
Bytes = bytes | bytearray | memoryview


class SealBroken(Exception):
    """The bytes were not sealed under this key with this associated data."""


def encrypt(*, key: bytes, iv: bytes, plaintext: bytes, associated: bytes) -> tuple[bytearray, bytes]:
    """Encrypt `plaintext` and return its ciphertext and tag.

    `key` is the MAC key followed by the encryption key, 32 bytes each. The IV must be random and must not be used
    twice under one key.
    """
    mac_key, encryption_key = _halves(key)
    padder = PKCS7(AES256.block_size).padder()
    encryptor = Cipher(AES256(encryption_key), CBC(iv)).encryptor()
    # Whole blocks are encrypted into their final buffer, because a copy of megabytes takes noticeable time.
    end = len(plaintext) - len(plaintext) % BLOCK_BYTE_COUNT
    padded = padder.update(plaintext[end:]) + padder.finalize()
    ciphertext = bytearray(end + BLOCK_BYTE_COUNT)
    encryptor.update_into(memoryview(plaintext)[:end], ciphertext)
    ciphertext[end:] = encryptor.update(padded) + encryptor.finalize()
    return ciphertext, _tag(mac_key, associated, iv, ciphertext)


def decrypt(*, key: bytes, iv: Bytes, ciphertext: Bytes, tag: Bytes, associated: bytes) -> bytes:
    """Verify the tag, then decrypt and return the plaintext. Raises SealBroken for every error."""
    mac_key, encryption_key = _halves(key)
    if not hmac.compare_digest(_tag(mac_key, associated, iv, ciphertext), tag):
        raise SealBroken
    try:
        decryptor = Cipher(AES256(encryption_key), CBC(iv)).decryptor()
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        unpadder = PKCS7(AES256.block_size).unpadder()
        end = unpadder.update(padded[-BLOCK_BYTE_COUNT:]) + unpadder.finalize()
        return padded[: len(padded) - BLOCK_BYTE_COUNT + len(end)]
    except ValueError:
        # The tag is valid, so a holder of the key sealed malformed padding. The caller gets the same error as for a
        # forgery.
        raise SealBroken from None


def _halves(key: bytes) -> tuple[bytes, bytes]:
    if len(key) != KEY_BYTE_COUNT:
        raise ValueError(f"A key of A256CBC-HS512 has {KEY_BYTE_COUNT} bytes, not {len(key)}.")
    return key[:32], key[32:]


def _tag(mac_key: bytes, associated: bytes, iv: Bytes, ciphertext: Bytes) -> bytes:
    mac = hmac.new(mac_key, digestmod=hashlib.sha512)
    for part in (associated, iv, ciphertext, (8 * len(associated)).to_bytes(8, "big")):
        mac.update(part)
    return mac.digest()[:TAG_BYTE_COUNT]
