"""Master keys: the vector of RFC 3394, and what a ring of several means."""

import pytest
from pytest_django import Settings

from storage import keyring

CONTENT_KEY = bytes.fromhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f")
WRAPPED = bytes.fromhex("28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21")


def test_the_vector_of_rfc_3394_section_4_6_is_reproduced() -> None:
    # The ring's key is the vector's: the bytes 00 to 1f.
    assert keyring.wrap(content_key=CONTENT_KEY) == ("old", WRAPPED)
    assert keyring.unwrap(master_key_id="old", wrapped_key=WRAPPED) == CONTENT_KEY


def test_the_first_key_wraps_and_every_key_unwraps(settings: Settings) -> None:
    settings.MASTER_KEYS = {"new": b"n" * 32, **settings.MASTER_KEYS}
    master_key_id, wrapped_key = keyring.wrap(content_key=CONTENT_KEY)
    assert master_key_id == "new"
    assert keyring.unwrap(master_key_id="new", wrapped_key=wrapped_key) == CONTENT_KEY
    assert keyring.unwrap(master_key_id="old", wrapped_key=WRAPPED) == CONTENT_KEY


def test_a_master_key_that_is_not_on_the_ring_is_refused() -> None:
    with pytest.raises(keyring.KeyRefused):
        keyring.unwrap(master_key_id="lost", wrapped_key=WRAPPED)


def test_another_master_key_under_the_same_id_is_refused(settings: Settings) -> None:
    settings.MASTER_KEYS = {"old": b"o" * 32}
    with pytest.raises(keyring.KeyRefused):
        keyring.unwrap(master_key_id="old", wrapped_key=WRAPPED)


def test_every_flipped_bit_and_every_other_length_is_refused() -> None:
    as_number = int.from_bytes(WRAPPED, "big")
    broken = [(as_number ^ (1 << bit)).to_bytes(len(WRAPPED), "big") for bit in range(8 * len(WRAPPED))]
    for wrapped_key in broken + [WRAPPED[:length] for length in range(len(WRAPPED))] + [WRAPPED + bytes(8)]:
        with pytest.raises(keyring.KeyRefused):
            keyring.unwrap(master_key_id="old", wrapped_key=wrapped_key)
