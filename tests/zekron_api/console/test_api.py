"""The console's routes of the API: by session and CSRF token, for members, in the name of the person."""

import io
import json
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from PIL import Image

from billing.membership_models import Role
from billing.models import Account
from storage import images
from tests import factories
from tests.zekron_api.callers import Caller
from tests.zekron_api.console.people import member, signed_in
from workers.lifecycle import deletion, generations
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db

KEY = "8a0b9f4e-4f7c-4a52-9a35-6d1b0d0b6a11"


class Page:
    """A page of the console with its session and its CSRF token."""

    def __init__(self, account: Account, role: str = Role.MEMBER) -> None:
        self.account = account
        self.user = member(account, role)
        self.client = signed_in(self.user)
        self.base = f"/console/{account.pk}/api"
        # The page carries the token, and the cookie comes with it.
        text = self.client.get(f"/console/{account.pk}/playground").content.decode()
        self.token = text.partition('"X-CSRFToken": "')[2].partition('"')[0]

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self._send("post", path, body or {}, {"X-CSRFToken": self.token, **headers})

    def delete(self, path: str) -> Any:
        return self._send("delete", path, {}, {"X-CSRFToken": self.token})

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(f"{self.base}/{path}", headers={"Accept": "application/json", **headers})

    def generate(self, **body: Any) -> Any:
        return self.post("generate", {"prompt": "a boat", "size": "512x512", "async": True, **body})

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        return getattr(self.client, method)(
            f"{self.base}/{path}",
            json.dumps(body),
            content_type="application/json",
            headers={"Accept": "application/json", **headers},
        )


@pytest.fixture
def page() -> Page:
    return Page(factories.account())


def made(owner: Account) -> Generation:
    """Return a completed generation whose picture is a real one of 512x256."""
    written = io.BytesIO()
    Image.new("RGB", (512, 256), "teal").save(written, "PNG")
    running = factories.claim(generation_id=factories.submit(owner, now=None).pk)
    image = factories.sealed(written.getvalue())
    generations.complete(generation=running, image=image, cost_micros=running.quote_micros)
    return Generation.objects.get(pk=running.pk)


def test_a_picture_is_bought_in_the_name_of_the_person_and_without_a_key(
    page: Page, idle_worker: None
) -> None:
    reply = page.generate()
    assert reply.status_code == 202
    row = Generation.objects.get(pk=reply.json()["data"]["id"])
    assert (row.account_id, row.person_id, row.api_key_id) == (page.account.pk, page.user.pk, None)


def test_a_click_that_arrives_twice_buys_one_picture(page: Page, idle_worker: None) -> None:
    first = page.post("generate", {"prompt": "a boat", "async": True}, **{"Idempotency-Key": KEY})
    again = page.post("generate", {"prompt": "a boat", "async": True}, **{"Idempotency-Key": KEY})
    assert first.json()["data"]["id"] == again.json()["data"]["id"]
    assert again["Idempotent-Replayed"] == "true"
    assert Generation.objects.count() == 1


def test_a_click_that_arrives_again_after_the_end_finds_the_generation(page: Page, idle_worker: None) -> None:
    wanted = {"prompt": "a boat", "async": True, "n": 2}
    first = page.post("generate", wanted, **{"Idempotency-Key": KEY}).json()["data"]
    for each in Generation.objects.order_by("pk"):
        factories.finish(factories.claim(generation_id=each.pk), now=None)
    again = page.post("generate", wanted, **{"Idempotency-Key": KEY}).json()["data"]
    assert (again["id"], again["group"]) == (first["id"], first["group"])
    assert again["status"] == "completed"


def test_a_request_without_the_token_of_the_page_is_refused(page: Page, idle_worker: None) -> None:
    generation = factories.submit(page.account)
    page.token = "x" * 32
    for reply in (page.generate(), page.post(f"generations/{generation.pk}/cancel"), page.post("quote")):
        assert reply.status_code == 403
    assert page.delete(f"generations/{generation.pk}").status_code == 403
    assert Generation.objects.get().status == Status.QUEUED


def test_a_viewer_reads_and_cannot_spend(page: Page) -> None:
    viewer = Page(page.account, Role.VIEWER)
    generation = factories.submit(page.account)
    assert viewer.get(f"generations/{generation.pk}").status_code == 200
    for reply in (viewer.generate(), viewer.delete(f"generations/{generation.pk}")):
        assert (reply.status_code, reply.json()["error"]["type"]) == (403, "key_scope")
        assert reply.json()["error"]["message"].startswith("Your role in this account")


def test_strangers_find_nothing(page: Page) -> None:
    generation = made(page.account)
    stranger = Page(factories.account())
    for account_id in (page.account.pk, stranger.account.pk):
        stranger.base = f"/console/{account_id}/api"
        for path in ("", "/picture", "/thumbnail", "/events"):
            assert stranger.get(f"generations/{generation.pk}{path}").status_code == 404
        assert stranger.post(f"generations/{generation.pk}/cancel").status_code == 404


def test_a_signed_out_page_is_told_to_sign_in(page: Page) -> None:
    page.client.logout()
    for reply in (page.generate(), page.get("balance")):
        assert (reply.status_code, reply.json()["error"]["type"]) == (401, "unauthorized")
        assert "signed out" in reply.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/balance", "/v1/generations", "/mcp"])
def test_the_published_api_ignores_the_session(page: Page, path: str) -> None:
    assert page.client.get(path, headers={"Accept": "application/json"}).status_code == 401


def test_a_suspended_account_is_refused(page: Page) -> None:
    Account.objects.filter(pk=page.account.pk).update(status=Account.Status.SUSPENDED)
    assert page.generate().status_code == 403
    assert "suspended" in page.get("balance").json()["error"]["message"]


def test_an_error_names_the_field_that_it_is_about(page: Page) -> None:
    reply = page.generate(size="100x100")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "size")
    assert page.generate(prompt=" ").json()["error"]["param"] == "prompt"


def test_pictures_count_in_the_limit_of_programs_and_reads_in_another(
    page: Page, me: Caller, idle_worker: None
) -> None:
    del me
    assert page.generate()["X-RateLimit-Limit"] == str(settings.REQUESTS_PER_MINUTE)
    assert page.get("balance")["X-RateLimit-Limit"] == str(settings.CONSOLE_REQUESTS_PER_MINUTE)
    assert page.post("quote", {"prompt": "-"})["X-RateLimit-Limit"] == str(
        settings.CONSOLE_REQUESTS_PER_MINUTE
    )


def test_a_picture_and_its_thumbnail_are_shown_to_members(page: Page) -> None:
    generation = made(page.account)
    whole = page.get(f"generations/{generation.pk}/picture")
    small = page.get(f"generations/{generation.pk}/thumbnail")
    assert (whole["Content-Type"], whole["Cache-Control"]) == ("image/png", "private, no-store")
    assert "sandbox" in whole["Content-Security-Policy"]
    with Image.open(io.BytesIO(small.content)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (320, 160))


def test_a_browser_keeps_a_thumbnail_for_as_long_as_the_picture_lives(page: Page) -> None:
    generation = made(page.account)
    small = page.get(f"generations/{generation.pk}/thumbnail")
    kept, max_age = small["Cache-Control"].split("max-age=")
    assert kept == "private, "
    assert 24 * 3600 - 60 < int(max_age) <= 24 * 3600
    again = page.get(f"generations/{generation.pk}/thumbnail", **{"If-None-Match": small["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("end", ["expired", "deleted"])
def test_a_picture_that_is_gone_is_shown_to_nobody(page: Page, end: str) -> None:
    generation = made(page.account)
    if end == "expired":
        factories.expire_image(generation.pk)
    else:
        deletion.delete_generation(generation_id=generation.pk)
    for path in ("picture", "thumbnail"):
        reply = page.get(f"generations/{generation.pk}/{path}")
        assert (reply.status_code, reply["Cache-Control"]) == (410, "private, no-store")


def test_a_generation_without_a_picture_has_no_thumbnail(page: Page) -> None:
    generation = factories.submit(page.account)
    for path in ("picture", "thumbnail"):
        assert page.get(f"generations/{generation.pk}/{path}").status_code == 404


def test_an_error_of_storage_is_kept_by_no_browser(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = made(page.account)

    def fail(**_: object) -> bytes:
        raise images.ObjectMissing

    monkeypatch.setattr(images, "load", fail)
    reply = page.get(f"generations/{generation.pk}/thumbnail")
    assert (reply.status_code, reply["Cache-Control"]) == (500, "private, no-store")


def test_an_open_generation_is_cancelled_and_an_ended_one_is_deleted(page: Page) -> None:
    generation = factories.submit(page.account)
    assert page.post(f"generations/{generation.pk}/cancel").json()["data"]["status"] == "cancelled"
    assert page.delete(f"generations/{generation.pk}").status_code == 204
    assert Generation.objects.get().prompt == ""


def test_events_are_streamed_to_the_page(page: Page) -> None:
    generation = factories.submit(page.account)
    reply = page.get(f"generations/{generation.pk}/events", Accept="text/event-stream")
    assert reply["Content-Type"] == "text/event-stream"
    assert b"event: status" in reply.content


def test_a_browser_of_nobody_gets_the_login_in_place_of_the_page() -> None:
    account = factories.account()
    for path in ("playground", "gallery"):
        assert Client().get(f"/console/{account.pk}/{path}").status_code == 302
