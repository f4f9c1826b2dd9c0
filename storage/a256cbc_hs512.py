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


class SealBroken(Exception):
    """The bytes are not what was sealed under this key for this purpose."""


def encrypt(*, key: bytes, iv: bytes, plaintext: bytes, associated: bytes) -> tuple[bytes, bytes]:
    """Ciphertext and tag of `plaintext`; `key` is the MAC key and then the encryption key, 32 bytes each.

    An IV must be random and must not be used twice under one key.
    """
    mac_key, encryption_key = _halves(key)
    padder = PKCS7(AES256.block_size).padder()
    encryptor = Cipher(AES256(encryption_key), CBC(iv)).encryptor()
    padded = padder.update(plaintext) + padder.finalize()
    ciphertext = encryptor.update(padded) + encryptor.finalize()
    return ciphertext, _tag(mac_key, associated, iv, ciphertext)


def decrypt(*, key: bytes, iv: bytes, ciphertext: bytes, tag: bytes, associated: bytes) -> bytes:
    """The plaintext, decrypted only once the tag has been verified; SealBroken for whatever is wrong."""
    mac_key, encryption_key = _halves(key)
    if not hmac.compare_digest(_tag(mac_key, associated, iv, ciphertext), tag):
        raise SealBroken
    try:
        decryptor = Cipher(AES256(encryption_key), CBC(iv)).decryptor()
        unpadder = PKCS7(AES256.block_size).unpadder()
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        # Whoever made this tag had the key and sealed something malformed: no more is said than of a forgery.
        raise SealBroken from None


def _halves(key: bytes) -> tuple[bytes, bytes]:
    if len(key) != KEY_BYTE_COUNT:
        raise ValueError(f"A key of A256CBC-HS512 has {KEY_BYTE_COUNT} bytes, not {len(key)}.")
    return key[:32], key[32:]


def _tag(mac_key: bytes, associated: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    mac = hmac.new(mac_key, digestmod=hashlib.sha512)
    for part in (associated, iv, ciphertext, (8 * len(associated)).to_bytes(8, "big")):
        mac.update(part)
    return mac.digest()[:TAG_BYTE_COUNT]
