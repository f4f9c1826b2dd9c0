"""The envelope: what goes in comes out, and nothing else ever does."""

import secrets
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import envelope
from storage.a256cbc_hs512 import SealBroken

CONTENT = b"a small image"
KEY = bytes(range(100, 132))
AS_SEALED: dict[str, Any] = {
    "content_key": KEY,
    "algorithm": "A256CBC-HS512",
    "associated_data": "generation:1:result",
    "mime_type": "image/png",
    "byte_count": len(CONTENT),
}
# CONTENT under KEY and master key "old" with an IV of 16 times 07, as the first version of the format has it.
GOLDEN = bytes.fromhex(
    "5a4b524e010d413235364342432d4853353132036f6c640707070707070707070707070707070721f13786b36ea89a10"
    "b6bd1ae4773bf43e7b0d97fdfa131d41c971617452f1b08adbf69d0648190aada6848cc215dd90"
)


@pytest.fixture(scope="module")
def sealed() -> bytes:
    """CONTENT as sealed with what AS_SEALED says."""
    return seal()


def seal(content: bytes = CONTENT, content_key: bytes = KEY) -> bytes:
    return envelope.seal(
        content=content,
        content_key=content_key,
        master_key_id="old",
        associated_data="generation:1:result",
        mime_type="image/png",
    )


def refused(sealed: bytes, **changes: Any) -> bool:
    try:
        envelope.unseal(sealed=sealed, **{**AS_SEALED, **changes})
    except SealBroken as error:
        return str(error) == ""
    return False


def test_what_was_sealed_is_unsealed(sealed: bytes) -> None:
    assert envelope.unseal(sealed=sealed, **AS_SEALED) == CONTENT


def test_the_golden_object_is_still_made_and_still_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_bytes", lambda byte_count: b"\7" * byte_count)
    assert seal() == GOLDEN
    assert envelope.unseal(sealed=GOLDEN, **AS_SEALED) == CONTENT


def test_every_flipped_bit_is_refused(sealed: bytes) -> None:
    as_number = int.from_bytes(sealed, "big")
    accepted = [
        bit
        for bit in range(8 * len(sealed))
        if not refused((as_number ^ (1 << bit)).to_bytes(len(sealed), "big"))
    ]
    assert accepted == []


def test_truncation_at_every_length_is_refused(sealed: bytes) -> None:
    assert [length for length in range(len(sealed)) if not refused(sealed[:length])] == []


@pytest.mark.parametrize("more", [b"\0", bytes(16), bytes(512)], ids=len)
def test_a_longer_object_is_refused(sealed: bytes, more: bytes) -> None:
    assert refused(sealed + more)
    assert refused(more + sealed)


@pytest.mark.parametrize(
    "change",
    [
        {"content_key": bytes(32)},
        {"algorithm": "A128CBC-HS256"},
        {"algorithm": ""},
        {"associated_data": "generation:2:result"},
        {"associated_data": "generation:1:resul"},
        {"mime_type": "image/jpeg"},
        {"byte_count": len(CONTENT) + 1},
        {"byte_count": 0},
    ],
    ids=str,
)
def test_whatever_the_row_says_otherwise_is_refused(sealed: bytes, change: dict[str, object]) -> None:
    assert refused(sealed, **change)


def test_a_character_moved_from_one_field_to_the_next_is_refused() -> None:
    sealed = envelope.seal(
        content=CONTENT, content_key=KEY, master_key_id="old", associated_data="ab", mime_type="\0cd"
    )
    assert not refused(sealed, associated_data="ab", mime_type="\0cd")
    assert refused(sealed, associated_data="a", mime_type="b\0cd")
    # Written one after the other without their lengths, these fields would be the same bytes.
    assert refused(sealed, associated_data="ab\0", byte_count=len(CONTENT) << 8, mime_type="cd")


def test_another_algorithm_is_refused_even_where_row_and_object_agree_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(envelope, "ALGORITHM", "A128CBC-HS256")
        sealed = seal()
        assert not refused(sealed, algorithm="A128CBC-HS256")
    assert refused(sealed, algorithm="A128CBC-HS256")


def test_swapped_objects_are_refused() -> None:
    first, second = seal(content_key=KEY), seal(content_key=bytes(reversed(KEY)))
    assert refused(second)
    assert refused(first, content_key=bytes(reversed(KEY)))


def test_no_two_seals_are_alike() -> None:
    assert len({seal() for _ in range(20)}) == 20


def test_a_content_key_of_another_length_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 16"):
        seal(content_key=bytes(16))


@given(
    content=st.binary(max_size=4096),
    content_key=st.binary(min_size=32, max_size=32),
    master_key_id=st.text("abcXYZ019", min_size=1, max_size=16),
    associated_data=st.text(max_size=100),
    mime_type=st.text(max_size=30),
)
def test_anything_comes_back_as_it_was(
    content: bytes, content_key: bytes, master_key_id: str, associated_data: str, mime_type: str
) -> None:
    arguments: dict[str, Any] = {
        "content_key": content_key,
        "associated_data": associated_data,
        "mime_type": mime_type,
    }
    sealed = envelope.seal(content=content, master_key_id=master_key_id, **arguments)
    opened = envelope.unseal(sealed=sealed, algorithm="A256CBC-HS512", byte_count=len(content), **arguments)
    assert opened == content
    assert len(sealed) <= len(content) + envelope.MAX_OVERHEAD_BYTE_COUNT


@given(sealed=st.binary(max_size=300))
def test_no_bytes_from_elsewhere_are_opened(sealed: bytes) -> None:
    assert refused(sealed)
    assert refused(seal()[:19] + sealed)
