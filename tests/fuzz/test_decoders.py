"""The decoders under random input: what each documents, and no other exception, whatever the bytes."""

import io
import json
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from rest_framework.exceptions import NotAuthenticated, ParseError
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from billing import keys
from billing.grants import DEFAULT_GRANTS
from storage import envelope
from storage.a256cbc_hs512 import SealBroken
from tests import factories
from tests.fuzz.mutations import EXAMPLES, fuzzed, mutated
from tests.images import heic, picture, saved
from tests.workers.imaging import profiles
from workers.imaging import colour, source_images
from workers.imaging.colour_tags import CodePoints, ColourTags
from zekron_api.endpoints.serializers import GenerateSerializer
from zekron_api.http.authentication import BearerKeyAuthentication, Caller
from zekron_api.http.errors import InvalidField
from zekron_api.http.json_body import parse_object

EXIF = Image.Exif()
EXIF[0x0112], EXIF[0x010E] = 6, "a boat"
CONTENT_KEY = bytes(range(32))
AS_SEALED: dict[str, Any] = {
    "content_key": CONTENT_KEY,
    "associated_data": "account 1 generation 1",
    "mime_type": "image/png",
}
BODY = {
    "prompt": "a boat \U0001f6f6",
    "model": "zekron-image-1",
    "size": "512x512",
    "seed": 1e3,
    "n": [1, {}],
}
BODIES = [
    json.dumps(BODY).encode(),
    json.dumps(BODY, ensure_ascii=False).encode(),
    json.dumps({**BODY, "images": [{"data": picture(), "mime_type": "image/png"}]}).encode(),
]
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "prompt": st.text(max_size=40) | ANY_JSON,
        "model": st.just("zekron-image-1") | ANY_JSON,
        "size": st.sampled_from(["512x512", "1024x768"]) | ANY_JSON,
        "images": st.lists(
            st.fixed_dictionaries({"data": st.just(picture()) | ANY_JSON}) | ANY_JSON, max_size=3
        )
        | ANY_JSON,
        "async": st.booleans() | ANY_JSON,
        "queue_ttl": st.integers(0, 90_000) | ANY_JSON,
        "partial_images": st.integers(-1, 4) | ANY_JSON,
    },
)


def _samples(file_format: str) -> list[bytes]:
    colours = Image.linear_gradient("L").resize((80, 64)).convert("RGB")
    modes = {
        "PNG": ["RGB", "RGBA", "P", "LA", "1", "I;16"],
        "JPEG": ["RGB", "L", "CMYK"],
        "WEBP": ["RGB", "RGBA"],
        "GIF": ["P", "L"],
    }
    options: dict[str, list[dict[str, Any]]] = {
        "PNG": [{"exif": EXIF}, {"compress_level": 0}],
        "JPEG": [{"exif": EXIF}, {"progressive": True}],
        "WEBP": [{"exif": EXIF}, {"lossless": True}],
        "GIF": [{"comment": b"a boat"}, {"transparency": 3, "interlace": 1}],
    }
    samples = []
    for mode in modes[file_format]:
        for chosen in options[file_format]:
            file = io.BytesIO()
            (colours.convert("L") if mode == "I;16" else colours).convert(mode).save(
                file, file_format, **chosen
            )
            samples.append(file.getvalue())
    return samples


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_an_image_is_a_picture_within_the_limits_or_invalid(file_format: str) -> None:
    """Pillow warns of odd metadata and goes on, as it does in production."""

    @fuzzed
    @given(content=mutated(_samples(file_format)))
    def fuzz(content: bytes) -> None:
        _decode(content)

    fuzz()


@pytest.mark.processes
@pytest.mark.parametrize("file_format", ["HEIC", "AVIF"])
def test_a_container_is_a_picture_within_the_limits_or_invalid(file_format: str) -> None:
    """Each example starts a process, so these are few."""
    colours = Image.linear_gradient("L").resize((80, 64)).convert("RGB")
    write = heic if file_format == "HEIC" else partial(saved, file_format="AVIF", speed=10)
    samples = [write(image, exif=EXIF.tobytes()) for image in (colours, colours.convert("RGBA"))]

    @settings(fuzzed, max_examples=max(1, EXAMPLES // 6))
    @given(content=mutated(samples))
    def fuzz(content: bytes) -> None:
        _decode(content)

    fuzz()


def _decode(content: bytes) -> None:
    try:
        picture = source_images.decode(content)
    except source_images.InvalidImage:
        return
    assert picture.mode == "RGB"
    assert min(picture.size) >= source_images.MIN_SIDE_PIXELS
    assert picture.width * picture.height <= source_images.MAX_PIXELS


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16", "CMYK"])
def test_a_profile_leads_to_a_conversion_or_to_none(mode: str) -> None:
    samples = [
        profiles.rgb_profile(profiles.DISPLAY_P3),
        profiles.grey_profile(1.8),
        profiles.cmyk_profile({(0, 0, 0, 0): (100, 0, 0)}),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    ]

    @fuzzed
    @given(profile=mutated(samples))
    def fuzz(profile: bytes) -> None:
        conversion = colour.find(ColourTags(icc_profile=profile), mode)
        if conversion is not None:
            converted = conversion.apply(Image.new(mode, (8, 8)))
            assert (converted.mode, converted.size) == ("RGB", (8, 8))

    fuzz()


@fuzzed
@given(
    points=st.builds(CodePoints, st.integers(0, 255), st.integers(0, 255), st.booleans()),
    gamma=st.none() | st.integers(0, 2**32 - 1).map(lambda number: number / 100_000),
    chromaticities=st.none()
    | st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 100_000), min_size=8, max_size=8).map(
        lambda numbers: tuple(number / 100_000 for number in numbers)
    ),
)
def test_colours_of_chunks_lead_to_a_conversion_or_to_none(
    points: CodePoints, gamma: float | None, chromaticities: tuple[float, ...] | None
) -> None:
    tags = ColourTags(code_points=points, gamma=gamma, chromaticities=chromaticities)
    conversion = colour.find(tags, "RGB")
    assert conversion is None or conversion.apply(Image.new("RGB", (8, 8))).mode == "RGB"


@pytest.mark.django_db
def test_a_key_is_the_one_that_was_issued_or_invalid() -> None:
    account = factories.account()
    _, issued = keys.issue(account_id=account.pk)
    nearly = mutated([issued.encode()]).map(lambda content: content.decode("utf-8", "surrogateescape"))

    @fuzzed
    @given(text=nearly | st.text(st.characters(exclude_categories=[])).map("zk_".__add__))
    def fuzz(text: str) -> None:
        with transaction.atomic():
            try:
                assert keys.authenticate(text=text).account == account
            except keys.InvalidKey:
                assert text != issued
            else:
                assert text == issued

    fuzz()


@pytest.mark.django_db
def test_a_header_names_the_account_and_its_key_or_is_refused() -> None:
    account = factories.account()
    key, issued = keys.issue(account_id=account.pk)
    factory = APIRequestFactory()

    @fuzzed
    @given(header=mutated([f"Bearer {issued}".encode(), b"Basic eDp5", b"bearer zk_"]))
    def fuzz(header: bytes) -> None:
        request = Request(factory.get("/v1/balance", HTTP_AUTHORIZATION=header.decode("latin-1")))
        try:
            assert BearerKeyAuthentication().authenticate(request) == (
                account,
                Caller(account, DEFAULT_GRANTS, key_id=key.pk),
            )
        except (NotAuthenticated, keys.InvalidKey):
            return

    fuzz()


def test_an_envelope_opens_to_what_was_sealed_or_is_broken() -> None:
    content = b"some bytes of an image"
    sealed = [
        envelope.seal(content=content, master_key_id=master_key_id, **AS_SEALED)
        for master_key_id in ("a", "b" * 99)
    ]

    @fuzzed
    @given(candidate=mutated(sealed), algorithm=st.just(envelope.ALGORITHM) | st.text(max_size=20))
    def fuzz(candidate: bytes, algorithm: str) -> None:
        try:
            opened = envelope.unseal(
                sealed=candidate, algorithm=algorithm, byte_count=len(content), **AS_SEALED
            )
        except SealBroken:
            return
        assert (opened, candidate in sealed) == (content, True)

    fuzz()


@fuzzed
@given(content=mutated(BODIES) | FIELDS.map(lambda fields: json.dumps(fields).encode()))
@pytest.mark.filterwarnings("ignore")
def test_a_body_is_an_order_or_refused_in_words(content: bytes) -> None:
    message = ""
    try:
        fields = GenerateSerializer(data=parse_object(content))
        fields.is_valid(raise_exception=True)
        assert set(fields.validated_data) == {
            *("prompt", "model", "size", "images"),
            *("async", "queue_ttl", "partial_images"),
        }
    except ParseError as error:
        message = str(error.detail)
    except InvalidField as error:
        message = str(error)
    # The reply repeats it, so it must be text that UTF-8 can say.
    assert message.encode().isascii()
