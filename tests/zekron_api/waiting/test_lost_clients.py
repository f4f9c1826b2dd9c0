"""Retries of clients that were lost: one charge, the same image, and never for a request that asks twice on purpose."""

import json
from typing import Any

import pytest
from pytest_django import Settings

from billing import audit, keys
from tests import factories
from tests.zekron_api.callers import Caller
from tests.zekron_api.waiting.exchange import Exchange, Serve, complete_all, in_thread, until
from workers.lifecycle import generations
from workers.models import Generation
from zekron_api.waiting.asgi_handler import WaitingRoom

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("idle_worker")]


def _ask(app: WaitingRoom, key: str, body: bytes | None = None, *, retry: object, **headers: str) -> Exchange:
    """Send a request as the official clients of OpenAI do, which count their tries."""
    return Exchange(app, key, body, x_stainless_retry_count=str(retry), **headers)


async def _lose(app: WaitingRoom, exchange: Exchange) -> None:
    """Let the client leave while its generation is open, and wait until that is noted."""
    await until(lambda: len(app.waiters) == 1)
    exchange.leave()
    await exchange.task


def _count_lost() -> int:
    return Generation.objects.filter(client_lost_at__isnull=False).count()


def test_a_retry_of_a_lost_client_gets_the_image_of_its_first_try(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        await _lose(app, _ask(app, me.key, retry=0))
        assert await in_thread(_count_lost) == 1
        retry = _ask(app, me.key, retry=1)
        await until(lambda: len(app.waiters) == 1)
        await in_thread(complete_all)
        await retry.task
        assert (retry.status, retry.headers["x-zekron-retry-attached"]) == (200, "true")
        assert json.loads(retry.body)["data"]["remaining_balance"] == "9.9733"
        assert await in_thread(Generation.objects.count) == 1
        assert await in_thread(lambda: list(audit.audit())) == []

    served(scenario)


def test_a_retry_after_the_end_gets_the_image_at_once(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        await _lose(app, _ask(app, me.key, retry=0))
        await in_thread(complete_all)
        retry = _ask(app, me.key, retry=1)
        await retry.task
        assert retry.status == 200
        assert await in_thread(Generation.objects.count) == 1

    served(scenario)


def test_a_retry_needs_neither_money_nor_a_place_nor_a_worker(
    served: Serve, me: Caller, settings: Settings
) -> None:
    async def scenario(app: WaitingRoom) -> None:
        await _lose(app, _ask(app, me.key, retry=0))
        await in_thread(complete_all)
        settings.OPEN_GENERATIONS_LIMIT = 0
        retry = _ask(app, me.key, retry=1)
        await retry.task
        assert retry.status == 200

    served(scenario)


@pytest.mark.parametrize("count", ["0", "", "x", "-1", "\u00b2"])
def test_asking_twice_on_purpose_makes_two(served: Serve, me: Caller, count: str) -> None:
    async def scenario(app: WaitingRoom) -> None:
        await _lose(app, _ask(app, me.key, retry=0))
        second = _ask(app, me.key, retry=count)
        await _lose(app, second)
        assert await in_thread(Generation.objects.count) == 2

    served(scenario)


def test_a_retry_with_another_prompt_or_with_a_key_of_its_own_is_a_new_request(
    served: Serve, me: Caller
) -> None:
    async def scenario(app: WaitingRoom) -> None:
        await _lose(app, _ask(app, me.key, retry=0))
        body = json.dumps({"prompt": "y", "size": "1024x1024"}).encode()
        await _lose(app, _ask(app, me.key, body, retry=1))
        await _lose(app, _ask(app, me.key, retry=1, idempotency_key="order-7"))
        assert await in_thread(Generation.objects.count) == 3

    served(scenario)


def test_a_retry_with_another_key_of_the_account_is_a_new_request(served: Serve, me: Caller) -> None:
    _, other = keys.issue(account_id=me.account.pk)

    async def scenario(app: WaitingRoom) -> None:
        await _lose(app, _ask(app, me.key, retry=0))
        await _lose(app, _ask(app, other, retry=1))
        assert await in_thread(Generation.objects.count) == 2

    served(scenario)


def test_a_client_that_got_its_reply_is_not_lost(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        first = _ask(app, me.key, retry=0)
        await until(lambda: len(app.waiters) == 1)
        await in_thread(complete_all)
        await first.task
        assert await in_thread(_count_lost) == 0
        await _lose(app, _ask(app, me.key, retry=1))
        assert await in_thread(Generation.objects.count) == 2

    served(scenario)


def test_a_retry_that_is_lost_too_is_found_by_the_next(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        for retry in range(3):
            await _lose(app, _ask(app, me.key, retry=retry))
        assert await in_thread(Generation.objects.count) == 1
        assert await in_thread(_count_lost) == 1

    served(scenario)


# The AI SDK repeats broken connections and every 5xx, and counts nothing.
AI_SDK: Any = {"user_agent": "ai/7.0.173 ai-sdk-provider-utils/5.0.81 node.js/24"}


def test_a_library_that_does_not_count_its_tries_gets_the_image_of_the_first_one(
    served: Serve, me: Caller
) -> None:
    async def scenario(app: WaitingRoom) -> None:
        await _lose(app, Exchange(app, me.key, **AI_SDK))
        retry = Exchange(app, me.key, **AI_SDK)
        await until(lambda: len(app.waiters) == 1)
        await in_thread(complete_all)
        await retry.task
        assert (retry.status, retry.headers["x-zekron-retry-attached"]) == (200, "true")
        # Whoever got the image and asks again wants another one.
        again = Exchange(app, me.key, **AI_SDK)
        await _lose(app, again)
        assert await in_thread(Generation.objects.count) == 2

    served(scenario)


def test_a_client_that_is_told_of_a_timeout_gets_the_image_by_its_retry(
    served: Serve, me: Caller, settings: Settings
) -> None:
    settings.SYNC_WAIT_SECONDS = 1

    async def scenario(app: WaitingRoom) -> None:
        first = Exchange(app, me.key, **AI_SDK)
        await until(lambda: len(app.waiters) == 1)
        mine = await in_thread(Generation.objects.get)
        running = await in_thread(lambda: factories.claim(generation_id=mine.pk))
        await first.task
        assert first.status == 504
        retry = Exchange(app, me.key, **AI_SDK)
        await until(lambda: len(app.waiters) == 1)
        await in_thread(lambda: factories.finish(running, now=None))
        await retry.task
        assert (retry.status, retry.headers["x-zekron-retry-attached"]) == (200, "true")
        assert await in_thread(Generation.objects.count) == 1
        assert await in_thread(lambda: list(audit.audit())) == []

    served(scenario)


def test_what_failed_is_asked_for_again_by_a_retry(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        first = Exchange(app, me.key, **AI_SDK)
        await until(lambda: len(app.waiters) == 1)
        mine = await in_thread(Generation.objects.get)
        running = await in_thread(lambda: factories.claim(generation_id=mine.pk))
        await in_thread(lambda: generations.fail(generation=running, **factories.ERROR))
        await first.task
        assert first.status == 500
        await _lose(app, Exchange(app, me.key, **AI_SDK))
        assert await in_thread(Generation.objects.count) == 2

    served(scenario)
