"""The mask of an edit: what is accepted, what is refused, and what of the source is kept."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from storage import images
from tests import factories
from tests.assertions import refusal
from tests.images import picture, saved
from tests.zekron_api.callers import Caller
from workers import catalogue
from workers.models import Generation, SourceImage

pytestmark = pytest.mark.django_db(transaction=True)
SIZE = (512, 512)


def as_field(content: bytes) -> dict[str, str]:
    return {"data": base64.b64encode(content).decode()}


def mask_of(size: tuple[int, int] = SIZE, mode: str = "RGBA") -> Image.Image:
    """Return a mask that is transparent in its left half."""
    mask = Image.new("RGBA", size, (9, 9, 9, 255))
    mask.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    return mask.convert(mode)


def noise(size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.merge("RGB", [Image.effect_noise(size, 80) for _ in range(3)])


def test_the_kept_half_is_the_source_bit_for_bit_and_the_other_is_painted(
    me: Caller, engine: factories.StandInEngine
) -> None:
    source = noise()
    response = me.generate(images=[as_field(saved(source))], mask=as_field(saved(mask_of())))
    data = response.json()["data"]
    assert (data["type"], data["cost"]) == ("edit", "0.0258")
    made = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image"]["b64_json"]))))
    assert np.array_equal(made[:, 256:], np.asarray(source)[:, 256:])
    assert (made[:, :256] == np.array([0, 128, 128])).all()
    [order] = engine.orders
    assert (len(order.sources), order.mask and order.mask.size) == (1, SIZE)


def test_source_and_mask_are_brought_to_the_ordered_size_together_and_the_margin_is_painted(
    me: Caller, engine: factories.StandInEngine
) -> None:
    source = noise((256, 128))
    data = me.generate(images=[as_field(saved(source))], mask=as_field(saved(mask_of((256, 128))))).json()[
        "data"
    ]
    made = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image"]["b64_json"]))))
    fitted = np.asarray(source.resize((512, 256), Image.Resampling.LANCZOS))
    assert np.array_equal(made[128:384, 260:], fitted[:, 260:])
    for painted in (made[:128], made[384:], made[:, :252]):
        assert (painted == np.array([0, 128, 128])).all()


def test_a_mask_is_sealed_with_the_sources_and_its_key_goes_with_theirs(
    me: Caller, engine: factories.StandInEngine
) -> None:
    assert (
        me.generate(images=[as_field(saved(noise()))], mask=as_field(saved(mask_of())), n=2).status_code
        == 200
    )
    rows = SourceImage.objects.select_related("image")
    assert sorted(row.position for row in rows) == [1, 1, 2, 2]
    assert all(row.image.wrapped_key is None for row in rows)
    assert {row.image.associated_data for row in rows} == {f"account {me.account.pk} source"}
    for row in rows:
        with pytest.raises(images.ImageGone):
            images.load(image=row.image)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_of_any_form_is_a_mask(me: Caller, engine: factories.StandInEngine, mode: str) -> None:
    mask = mask_of().quantize(4) if mode == "PA" else mask_of(mode=mode)
    assert me.generate(images=[as_field(saved(noise()))], mask=as_field(saved(mask))).status_code == 200
    values = np.asarray(engine.orders[0].mask)
    assert (values[:, :256].max(), values[:, 256:].min()) == (0, 255)


def test_a_mask_has_the_size_of_the_image_as_it_is_looked_at(me: Caller, idle_worker: None) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = as_field(saved(noise((128, 64)), "JPEG", exif=exif))
    upright, lying_mask = (as_field(saved(mask_of(size))) for size in ((64, 128), (128, 64)))
    assert me.post("/v1/quote", {"prompt": "x", "images": [lying], "mask": upright}).status_code == 200
    refused = me.post("/v1/quote", {"prompt": "x", "images": [lying], "mask": lying_mask})
    assert refusal(refused) == (400, "invalid_mask")
    assert "mask is 128x64, and images[0] is 64x128" in refused.json()["error"]["message"]


def test_a_mask_of_a_large_photo_has_its_own_size(me: Caller, idle_worker: None) -> None:
    photo = as_field(saved(Image.new("RGB", (3000, 2000), "teal"), "JPEG"))
    for size, status in (((3000, 2000), 200), ((3000, 1990), 400), ((1500, 1000), 400)):
        body = {"prompt": "x", "images": [photo], "mask": as_field(saved(mask_of(size)))}
        assert me.post("/v1/quote", body).status_code == status


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (as_field(saved(Image.new("RGB", SIZE))), "has no transparency"),
        (as_field(saved(Image.new("RGBA", SIZE, (0, 0, 0, 255)))), "has no transparent pixel"),
        (as_field(saved(mask_of((511, 512)))), "Both must have the same size"),
        (as_field(saved(mask_of(), "WEBP")), "is not a PNG"),
        (as_field(saved(mask_of())[:-40]), "broken"),
        (as_field(b"\x89PNG\r\n\x1a\n" + bytes(40)), "broken"),
        (picture(), "mask must be an object"),
        ([], "mask must be an object"),
    ],
)
def test_another_file_is_refused_by_name_and_nothing_is_stored(
    me: Caller, idle_worker: None, mask: Any, said: str
) -> None:
    response = me.generate(images=[as_field(saved(noise()))], mask=mask)
    assert refusal(response) == (400, "invalid_mask")
    assert said in response.json()["error"]["message"]
    assert not Generation.objects.exists()


def test_a_mask_needs_an_image(me: Caller, idle_worker: None) -> None:
    response = me.generate(mask=as_field(saved(mask_of())))
    assert refusal(response) == (400, "invalid_mask")
    assert "needs images" in response.json()["error"]["message"]


def test_a_mask_in_broken_base64_is_refused_as_an_image_is(me: Caller, idle_worker: None) -> None:
    assert refusal(me.generate(images=[as_field(saved(noise()))], mask={"data": "?"})) == (
        400,
        "invalid_base64",
    )


def test_a_model_without_masks_refuses_them_by_its_name(
    me: Caller, idle_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "LATENT_ADAPTERS", ())
    response = me.generate(images=[as_field(saved(noise()))], mask=as_field(saved(mask_of())))
    assert refusal(response) == (400, "unsupported_parameter")
    assert "zekron-image-1 takes no mask" in response.json()["error"]["message"]


def test_a_quote_takes_a_mask_which_is_free(me: Caller, idle_worker: None) -> None:
    mask = as_field(saved(mask_of()))
    costs = [
        me.post("/v1/quote", {"prompt": "x", "images": 1, **more}).json()["data"]["cost"]
        for more in ({}, {"mask": mask}, {"mask": None})
    ]
    assert costs == [costs[0]] * 3


def test_a_mask_is_part_of_the_content_under_an_idempotency_key(
    me: Caller, engine: factories.StandInEngine
) -> None:
    source, mask, other = (as_field(saved(each)) for each in (noise(), mask_of(), mask_of().rotate(180)))

    def send(**more: Any) -> Any:
        body = {"prompt": "x", "size": "512x512", "images": [source], **more}
        return me.post("/v1/generate", body, **{"Idempotency-Key": "one"})

    first = send(mask=mask)
    assert send(mask=mask).json()["data"]["id"] == first.json()["data"]["id"]
    assert refusal(send(mask=other)) == (422, "idempotency_mismatch")
    assert refusal(send()) == (422, "idempotency_mismatch")
