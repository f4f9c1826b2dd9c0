"""Retries of clients that were lost: one charge, the same image, and never for a request that asks twice on purpose."""

import json

import pytest
from pytest_django import Settings

from billing import audit, keys
from tests.zekron_api.callers import Caller
from tests.zekron_api.waiting.exchange import Exchange, Serve, complete_all, in_thread, until
from workers.models import Generation
from zekron_api.waiting.asgi_handler import WaitingRoom

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("idle_worker")]
FIRST, RETRY = {"x_stainless_retry_count": "0"}, {"x_stainless_retry_count": "1"}


async def _lose(app: WaitingRoom, exchange: Exchange) -> None:
    """Let the client leave while its generation is open, and wait until that is noted."""
    await until(lambda: len(app.waiters) == 1)
    exchange.leave()
    await exchange.task


def _count_lost() -> int:
    return Generation.objects.filter(client_lost_at__isnull=False).count()


def test_a_retry_of_a_lost_client_gets_the_image_of_its_first_try(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        await _lose(app, Exchange(app, me.key, **FIRST))
        assert await in_thread(_count_lost) == 1
        retry = Exchange(app, me.key, **RETRY)
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
        await _lose(app, Exchange(app, me.key, **FIRST))
        await in_thread(complete_all)
        retry = Exchange(app, me.key, **RETRY)
        await retry.task
        assert retry.status == 200
        assert await in_thread(Generation.objects.count) == 1

    served(scenario)


def test_a_retry_needs_neither_money_nor_a_place_nor_a_worker(
    served: Serve, me: Caller, settings: Settings
) -> None:
    async def scenario(app: WaitingRoom) -> None:
        await _lose(app, Exchange(app, me.key, **FIRST))
        await in_thread(complete_all)
        settings.OPEN_GENERATIONS_LIMIT = 0
        retry = Exchange(app, me.key, **RETRY)
        await retry.task
        assert retry.status == 200

    served(scenario)


@pytest.mark.parametrize("count", ["0", "", "x", "-1", "\u00b2"])
def test_asking_twice_on_purpose_makes_two(served: Serve, me: Caller, count: str) -> None:
    async def scenario(app: WaitingRoom) -> None:
        await _lose(app, Exchange(app, me.key, **FIRST))
        second = Exchange(app, me.key, x_stainless_retry_count=count)
        await _lose(app, second)
        assert await in_thread(Generation.objects.count) == 2

    served(scenario)


def test_a_retry_with_another_prompt_or_with_a_key_of_its_own_is_a_new_request(
    served: Serve, me: Caller
) -> None:
    async def scenario(app: WaitingRoom) -> None:
        await _lose(app, Exchange(app, me.key, **FIRST))
        body = json.dumps({"prompt": "y", "size": "1024x1024"}).encode()
        await _lose(app, Exchange(app, me.key, body, **RETRY))
        await _lose(app, Exchange(app, me.key, idempotency_key="order-7", **RETRY))
        assert await in_thread(Generation.objects.count) == 3

    served(scenario)


def test_a_retry_with_another_key_of_the_account_is_a_new_request(served: Serve, me: Caller) -> None:
    _, other = keys.issue(account_id=me.account.pk)

    async def scenario(app: WaitingRoom) -> None:
        await _lose(app, Exchange(app, me.key, **FIRST))
        await _lose(app, Exchange(app, other, **RETRY))
        assert await in_thread(Generation.objects.count) == 2

    served(scenario)


def test_a_client_that_got_its_reply_is_not_lost(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        first = Exchange(app, me.key, **FIRST)
        await until(lambda: len(app.waiters) == 1)
        await in_thread(complete_all)
        await first.task
        assert await in_thread(_count_lost) == 0
        await _lose(app, Exchange(app, me.key, **RETRY))
        assert await in_thread(Generation.objects.count) == 2

    served(scenario)


def test_a_retry_that_is_lost_too_is_found_by_the_next(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        for headers in (FIRST, RETRY, {"x_stainless_retry_count": "2"}):
            await _lose(app, Exchange(app, me.key, **headers))
        assert await in_thread(Generation.objects.count) == 1
        assert await in_thread(_count_lost) == 1

    served(scenario)
