"""The cipher A256CBC-HS512 of RFC 7518 §5.2.5: AES-256-CBC, then HMAC-SHA-512 over all that is not secret.

Owns nothing but the arithmetic. Knows not what is sealed, where a key comes from or where an IV does.
"""

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

KEY_BYTE_COUNT = 64
IV_BYTE_COUNT = 16
TAG_BYTE_COUNT = 32
BLOCK_BYTE_COUNT = 16

# What is verified and decrypted may be a part of something longer, which is not copied for it.
Bytes = bytes | bytearray | memoryview


class SealBroken(Exception):
    """The bytes are not what was sealed under this key for this purpose."""


def encrypt(*, key: bytes, iv: bytes, plaintext: bytes, associated: bytes) -> tuple[bytearray, bytes]:
    """Ciphertext and tag of `plaintext`; `key` is the MAC key and then the encryption key, 32 bytes each.

    An IV must be random and must not be used twice under one key.
    """
    mac_key, encryption_key = _halves(key)
    padder = PKCS7(AES256.block_size).padder()
    encryptor = Cipher(AES256(encryption_key), CBC(iv)).encryptor()
    # Whole blocks go straight to where they stay: beside the cipher, each copy of a megabyte would show.
    end = len(plaintext) - len(plaintext) % BLOCK_BYTE_COUNT
    padded = padder.update(plaintext[end:]) + padder.finalize()
    ciphertext = bytearray(end + BLOCK_BYTE_COUNT)
    encryptor.update_into(memoryview(plaintext)[:end], ciphertext)
    ciphertext[end:] = encryptor.update(padded) + encryptor.finalize()
    return ciphertext, _tag(mac_key, associated, iv, ciphertext)


def decrypt(*, key: bytes, iv: Bytes, ciphertext: Bytes, tag: Bytes, associated: bytes) -> bytes:
    """The plaintext, decrypted only once the tag has been verified; SealBroken for whatever is wrong."""
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
        # Whoever made this tag had the key and sealed something malformed: no more is said than of a forgery.
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
