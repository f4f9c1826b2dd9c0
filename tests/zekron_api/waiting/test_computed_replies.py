"""Replies that take a processor to build: few are built at once, so other requests are not delayed by them."""

import asyncio
import threading

import pytest
from django.conf import settings

from tests import factories, images
from tests.zekron_api.callers import Caller
from tests.zekron_api.console.people import member, signed_in
from tests.zekron_api.waiting.exchange import Exchange, Serve, until
from workers.imaging import thumbnails
from workers.lifecycle import generations
from workers.models import Generation
from zekron_api.waiting.asgi_handler import MAX_COMPUTED_REPLIES, WaitingRoom

pytestmark = pytest.mark.django_db(transaction=True)
MANY = 12


@pytest.fixture
def picture(me: Caller) -> Generation:
    """Return a generation of mine with a real picture."""
    running = factories.claim(generation_id=factories.submit(me.account, now=None).pk)
    image = factories.sealed(images.saved(images.halves(64, 64)))
    generations.complete(generation=running, image=image, cost_micros=running.quote_micros)
    Generation.objects.filter(pk=running.pk).update(expires_at="2999-01-01T00:00+00:00")
    return Generation.objects.get(pk=running.pk)


def test_few_thumbnails_are_made_at_once_and_the_owner_and_others_go_on(
    served: Serve, me: Caller, stranger: Caller, picture: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, lock = threading.Event(), threading.Lock()
    inside = 0
    seen: list[int] = []

    def make(content: bytes) -> bytes:
        nonlocal inside
        with lock:
            inside += 1
            seen.append(inside)
        assert gate.wait(30)
        with lock:
            inside -= 1
        return b"small"

    monkeypatch.setattr(thumbnails, "make", make)
    session = signed_in(member(me.account)).cookies[settings.SESSION_COOKIE_NAME].value
    path = f"/console/{me.account.pk}/api/generations/{picture.pk}/thumbnail"

    async def scenario(app: WaitingRoom) -> None:
        cookie = f"{settings.SESSION_COOKIE_NAME}={session}"
        asked = [Exchange(app, "", b"", method="GET", path=path, cookie=cookie) for _ in range(MANY)]
        await until(lambda: len(seen) == MAX_COMPUTED_REPLIES)
        for caller in (me, stranger):
            balance = Exchange(app, caller.key, b"", method="GET", path="/v1/balance")
            await balance.task
            assert balance.status == 200
        mine = Exchange(app, "", b"", method="GET", path=path.replace("thumbnail", "picture"), cookie=cookie)
        await mine.task
        assert mine.status == 200
        gate.set()
        await asyncio.gather(*(each.task for each in asked))
        assert {(each.status, each.body) for each in asked} == {(200, b"small")}

    served(scenario)
    assert max(seen) == MAX_COMPUTED_REPLIES
