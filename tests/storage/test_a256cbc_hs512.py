"""The cipher against the vectors of RFC 7518 appendix B.3 and some of Wycheproof's a256cbc_hs512."""

import pytest

from storage.a256cbc_hs512 import SealBroken, decrypt, encrypt

COUNTING_KEY = bytes(range(64))
RFC_TEXT = (
    b"A cipher system must not be required to be secret, and it must be able to fall into the hands of "
    b"the enemy without inconvenience"
)
RFC_IV = bytes.fromhex("1af38c2dc2b96ffdd86694092341bc04")
RFC_ASSOCIATED = b"The second principle of Auguste Kerckhoffs"
RFC_CIPHERTEXT = bytes.fromhex(
    "4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd822c301dd67c373bccb584ad3e9279c2"
    "e6d12a1374b77f077553df829410446b36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f09b3"
    "a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950bbe2638d09dd7a4930930806d0703b1f6"
)
RFC_TAG = bytes.fromhex("4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5")

# Wycheproof, testvectors_v1/a256cbc_hs512_test.json, without associated data:
# number, key, IV, message, ciphertext, tag.
WYCHEPROOF = [
    (
        2,
        "1a648e0419461afc9fc7d227309f248fb9b539c7a6e37b21ce317d64c44a07e3"
        "612cb634846512deb63e45720626aa4cdf382b597cae7c69fd7b335ceca88dd9",
        "d8f31a5718cf3112d17bd5b36424a3b8",
        "",
        "9eaa9835b09deeac7dc73f5c549af661",
        "2a753f48f0b78e636a0b9f3ba0d7c25e549a609bbf37c1c757b688b7d5d4f286",
    ),
    (
        18,
        "71c9a98aed32856cab7db5a8e6ba1d48fa200e45c5cc72515ae93b99199827f9"
        "f3537c12531f9856097db917125f827434c10bdf405a1f0fe54a030653e01700",
        "0877dcdfedf7682fe7c0db39e173e049",
        "754a366c6993ba3ab1917bd5afb317ef",
        "9ea4607de92dfd9c294ff9de355198b9cb1782f68f84b71fee6065ee37136320",
        "aa617d4216237b9143acec726cbf93486d1001c4b746fdae974bc121096cd996",
    ),
    (
        64,
        COUNTING_KEY.hex(),
        "00000000000000000000000000000000",
        "000102030405060708090a0b0c0d0e0f10111213",
        "a00f1ede67c6f803526f2e3c4ea929bc86ef07ccd8a17fd17cdd63b57bffb1d2",
        "9f2a4c578ca28e0c8dccb4fe50b3067ef3c9409e38a34256efba6a19f4de5309",
    ),
    (
        65,
        COUNTING_KEY.hex(),
        "ffffffffffffffffffffffffffffffff",
        "000102030405060708090a0b0c0d0e0f10111213",
        "6418a0f77d979c02724d5e9b3f027520c6dbeeb98be1c22e7f51153bffcaf53c",
        "435a571c53e85b6f0c3acdb49d0e8d1316e92a7526b0b284fdcfe1e82fe091b5",
    ),
    (
        66,
        COUNTING_KEY.hex(),
        "000102030405060708090a0b0c0d0e0f",
        "000102030405060708090a0b0c0d0e0f10111213",
        "f34744ebcd337f209c19e3ac13d82dec9c3efe8443eb8d2758c803f3261c47b7",
        "8eb2099d22c6572e5b87dee815403e8296cb1bb4a411168765b1a23a5b49c0d9",
    ),
    (
        67,
        COUNTING_KEY.hex(),
        "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0",
        "000102030405060708090a0b0c0d0e0f10111213",
        "50f756cb878ec008b813402ad1825a08526d10811c97cd957ebdbd83c335036b",
        "ee93d4dd42d6dc3d74da6cb1ead9c69596e5e65209b9a66c1a7d50746f48f4c6",
    ),
]
# Wycheproof 68 to 94 flip bits of this tag; 68 itself flips the first.
MODIFIED_IV = bytes(range(0x50, 0x60))
MODIFIED_CIPHERTEXT = bytes.fromhex("eb1bd95e4c87a60ed850b557902d5528cd831c08e98fe900e3089461b0afaa4d")
MODIFIED_TAG = bytes.fromhex("722a633aeb305f7f9f768d3bbef80301ff6dac20d7319954bcaf34521b3d8058")


def test_the_vector_of_the_rfc_is_reproduced() -> None:
    made = encrypt(key=COUNTING_KEY, iv=RFC_IV, plaintext=RFC_TEXT, associated=RFC_ASSOCIATED)
    assert (bytes(made[0]), made[1]) == (RFC_CIPHERTEXT, RFC_TAG)
    opened = decrypt(
        key=COUNTING_KEY, iv=RFC_IV, ciphertext=RFC_CIPHERTEXT, tag=RFC_TAG, associated=RFC_ASSOCIATED
    )
    assert opened == RFC_TEXT


@pytest.mark.parametrize("vector", WYCHEPROOF, ids=lambda vector: f"tcId {vector[0]}")
def test_valid_vectors_of_wycheproof_are_reproduced(vector: tuple[int, str, str, str, str, str]) -> None:
    key, iv, plaintext, ciphertext, tag = (bytes.fromhex(text) for text in vector[1:])
    made = encrypt(key=key, iv=iv, plaintext=plaintext, associated=b"")
    assert (bytes(made[0]), made[1]) == (ciphertext, tag)
    assert decrypt(key=key, iv=iv, ciphertext=ciphertext, tag=tag, associated=b"") == plaintext


def test_only_the_right_tag_is_accepted_whichever_bit_differs() -> None:
    right = bytes([MODIFIED_TAG[0] ^ 1]) + MODIFIED_TAG[1:]
    made = encrypt(key=COUNTING_KEY, iv=MODIFIED_IV, plaintext=bytes(range(0x20, 0x30)), associated=b"")
    assert (bytes(made[0]), made[1]) == (MODIFIED_CIPHERTEXT, right)
    for bit in range(8 * len(right)):
        tag = (int.from_bytes(right, "big") ^ (1 << bit)).to_bytes(32, "big")
        with pytest.raises(SealBroken):
            decrypt(key=COUNTING_KEY, iv=MODIFIED_IV, ciphertext=MODIFIED_CIPHERTEXT, tag=tag, associated=b"")


@pytest.mark.parametrize("tag", [b"", RFC_TAG[:-1], RFC_TAG + b"\0", bytes(32)])
def test_a_tag_of_another_length_is_refused(tag: bytes) -> None:
    with pytest.raises(SealBroken):
        decrypt(key=COUNTING_KEY, iv=RFC_IV, ciphertext=RFC_CIPHERTEXT, tag=tag, associated=RFC_ASSOCIATED)


def test_bad_padding_under_a_right_tag_is_refused_like_a_forgery(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two zero bytes are no padding. Without the padder, `encrypt` signs them.
    class NoPadder:
        def padder(self) -> "NoPadder":
            return self

        def update(self, data: bytes) -> bytes:
            return data

        def finalize(self) -> bytes:
            return b""

    with monkeypatch.context() as patched:
        patched.setattr("storage.a256cbc_hs512.PKCS7", lambda _: NoPadder())
        ciphertext, tag = encrypt(key=COUNTING_KEY, iv=RFC_IV, plaintext=bytes(16), associated=b"")
    with pytest.raises(SealBroken) as refusal:
        decrypt(key=COUNTING_KEY, iv=RFC_IV, ciphertext=ciphertext, tag=tag, associated=b"")
    assert str(refusal.value) == ""
    assert refusal.value.__suppress_context__


def test_nothing_is_decrypted_before_the_tag_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("decrypted unverified bytes")

    monkeypatch.setattr("storage.a256cbc_hs512.Cipher", fail)
    with pytest.raises(SealBroken):
        decrypt(
            key=COUNTING_KEY, iv=RFC_IV, ciphertext=RFC_CIPHERTEXT, tag=bytes(32), associated=RFC_ASSOCIATED
        )


def test_a_key_of_another_length_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="64 bytes, not 32"):
        encrypt(key=bytes(32), iv=RFC_IV, plaintext=b"", associated=b"")
