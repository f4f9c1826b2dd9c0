"""Signed manifests: every image has one, edits carry over those of their sources, and verify reads them."""

import base64
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pytest_django import Settings

from tests import factories
from tests.certificates import manifests, signer_file
from tests.images import picture, saved
from tests.zekron_api.callers import Caller
from workers.gpu_worker import marking
from workers.imaging import c2pa_credential, c2pa_reading, c2pa_signing
from workers.imaging.xmp import SourceType

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
FORMATS = ["png", "jpeg", "webp"]


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return signer_file(tmp_path_factory.mktemp("signer"))


@pytest.fixture(autouse=True)
def signing(settings: Settings, signer: Path) -> None:
    settings.PROVENANCE = "c2pa"
    settings.C2PA_CERT = settings.C2PA_KEY = signer


@pytest.fixture(scope="module")
def photo(signer: Path) -> bytes:
    """Return a picture from elsewhere with a manifest."""
    return c2pa_signing.sign(
        saved(Image.new("RGB", (96, 64), "orange")),
        mime_type="image/png",
        credential=c2pa_credential.read(certificate_file=signer, key_file=signer),
        manifest=marking.manifest("elsewhere"),
    )


def sources(*contents: bytes) -> list[dict[str, str]]:
    return [{"data": base64.b64encode(content).decode()} for content in contents]


def made(who: Caller, **body: Any) -> tuple[bytes, dict[str, Any]]:
    data = who.generate(**body).json()["data"]
    return base64.b64decode(data["image"]["b64_json"]), data


def verified(who: Caller, content: bytes) -> Any:
    return who.post("/v1/verify", {"data": base64.b64encode(content).decode()}).json()["data"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_image_is_signed_and_says_nothing_of_its_request(
    me: Caller, engine: factories.StandInEngine, name: str
) -> None:
    content, data = made(me, output_format=name, prompt="a secret boat", metadata={"a": "secret"})
    active, said = manifests(content)
    assert said["validation_state"] == "Valid"
    [actions] = active["assertions"]
    assert actions["data"] == {
        "actions": [
            {
                "action": "c2pa.created",
                "softwareAgent": {"name": "Zekron", "model": "zekron-image-1"},
                "digitalSourceType": SourceType.CREATED,
            }
        ]
    }
    assert set(active) <= {
        *("assertions", "claim_generator_info", "claim_version", "instance_id", "label", "signature_info"),
    }
    assert b"secret" not in content
    assert "time" not in active["signature_info"]
    assert me.get(f"/v1/generations/{data['id']}").json()["data"]["provenance"] == "c2pa"
    assert verified(me, content) == {
        "made_here": True,
        "xmp": SourceType.CREATED,
        "c2pa": {"valid": True, "trusted": False, "digital_source_type": SourceType.CREATED},
    }


def test_verify_trusts_whom_the_operator_trusts(
    me: Caller, photo: bytes, signer: Path, settings: Settings
) -> None:
    settings.C2PA_TRUST_ANCHORS = signer
    assert verified(me, photo)["c2pa"] == {
        "valid": True,
        "trusted": True,
        "digital_source_type": SourceType.CREATED,
    }
    assert verified(me, saved(Image.new("RGB", (96, 64))))["c2pa"] is None


def test_an_edit_carries_over_the_manifests_of_its_sources(
    me: Caller, engine: factories.StandInEngine, photo: bytes
) -> None:
    plain = saved(Image.new("RGB", (64, 64), "blue"))
    content, _ = made(me, images=sources(photo, plain))
    active, said = manifests(content)
    assert said["validation_state"] == "Valid"
    found = {each["relationship"]: each.get("active_manifest") for each in active["ingredients"]}
    assert found == {"parentOf": manifests(photo)[1]["active_manifest"], "inputTo": None}
    opened, edited = active["assertions"][0]["data"]["actions"]
    assert (opened["action"], edited["action"]) == ("c2pa.opened", "c2pa.edited")
    assert edited["digitalSourceType"] == SourceType.EDITED
    assert [len(each["parameters"]["ingredients"]) for each in (opened, edited)] == [1, 1]
    again, _ = made(me, images=sources(plain, content))
    active, said = manifests(again)
    assert len(said["manifests"]) == 3
    found = {each["relationship"]: "active_manifest" in each for each in active["ingredients"]}
    assert found == {"parentOf": False, "inputTo": True}


def test_a_mask_is_no_ingredient(me: Caller, engine: factories.StandInEngine) -> None:
    mask = Image.new("RGBA", (96, 64), (0, 0, 0, 0))
    mask.paste((0, 0, 0, 255), (0, 0, 48, 64))
    content, _ = made(me, images=[{"data": picture()}], mask=sources(saved(mask))[0])
    active, _ = manifests(content)
    assert [each["relationship"] for each in active["ingredients"]] == ["parentOf"]


def test_a_retry_with_the_same_source_is_the_same_request(
    me: Caller, engine: factories.StandInEngine, photo: bytes
) -> None:
    body = {"prompt": "at night", "size": "512x512", "images": sources(photo)}
    replies = [me.post("/v1/generate", body, **{"Idempotency-Key": "k"}) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 200]
    assert len({reply.json()["data"]["image"]["b64_json"] for reply in replies}) == 1
    assert len(engine.orders) == 1


def test_a_quote_reads_no_manifest(
    me: Caller, idle_worker: None, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c2pa_reading, "pack", None)
    reply = me.post("/v1/quote", {"prompt": "at night", "size": "512x512", "images": sources(photo)})
    assert reply.status_code == 200
