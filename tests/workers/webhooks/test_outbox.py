"""Every way in which a generation ends writes its event, in the transaction of that end and once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from billing.models import Account
from tests import factories
from tests.workers.webhooks import made
from workers.lifecycle import cancellation, deletion, generations, operator_cancellation, recovery
from workers.models import Generation, Status
from workers.webhook_models import WebhookDelivery
from workers.webhooks import endpoints, events, outbox
from workers.webhooks.schedule import MAX_TRIES

pytestmark = pytest.mark.django_db

NOW = factories.NOW
LATER = NOW + timedelta(hours=2)
EVERYTHING = events.SUBSCRIBABLE
ERROR: dict[str, Any] = {"error_type": "generation_failed", "error_code": "X"}


def _complete(owner: Account) -> Generation:
    return factories.finish(factories.claim(generation_id=factories.submit(owner).pk, now=NOW))


def _fail(owner: Account) -> Generation:
    return factories.generation_in(Status.FAILED, owner)


def _give_up_queued(owner: Account) -> Generation:
    generation = factories.submit(owner)
    recovery.sweep(now=LATER)
    return generation


def _give_up_exhausted(owner: Account) -> Generation:
    generation = factories.exhausted(owner)
    recovery.sweep(now=NOW + timedelta(minutes=1))
    return generation


def _cancel_queued(owner: Account) -> Generation:
    return cancellation.request(generation=factories.submit(owner), detail="", now=NOW)


def _cancel_running(owner: Account) -> Generation:
    running = factories.claim(generation_id=factories.submit(owner).pk, now=NOW)
    cancellation.request(generation=running, detail="", now=NOW)
    assert cancellation.end_requested(generation=running, now=NOW)
    return running


def _cancel_abandoned(owner: Account) -> Generation:
    running = factories.claim(generation_id=factories.submit(owner).pk, now=NOW)
    cancellation.request(generation=running, detail="", now=NOW)
    recovery.sweep(now=NOW + timedelta(minutes=1))
    return running


def _cancel_after_queue_ttl(owner: Account) -> Generation:
    generation = factories.submit(owner, queue_seconds=60)
    recovery.sweep(now=NOW + timedelta(seconds=61))
    return generation


def _cancel_without_worker(owner: Account) -> Generation:
    return factories.generation_in(Status.CANCELLED, owner)


def _cancel_by_operator(owner: Account) -> Generation:
    generation = factories.submit(owner)
    operator_cancellation.cancel(generation_id=generation.pk, operator="staff", reason="test")
    return generation


ENDS: dict[str, tuple[Callable[[Account], Generation], str]] = {
    "completed": (_complete, events.COMPLETED),
    "failed": (_fail, events.FAILED),
    "given up while queued": (_give_up_queued, events.FAILED),
    "given up after its last attempt": (_give_up_exhausted, events.FAILED),
    "cancelled while queued": (_cancel_queued, events.CANCELLED),
    "cancelled while it runs": (_cancel_running, events.CANCELLED),
    "cancelled after its worker died": (_cancel_abandoned, events.CANCELLED),
    "queued for too long": (_cancel_after_queue_ttl, events.CANCELLED),
    "not begun in time": (_cancel_without_worker, events.CANCELLED),
    "cancelled by the operator": (_cancel_by_operator, events.CANCELLED),
}
every_end = pytest.mark.parametrize(("end", "event"), ENDS.values(), ids=ENDS)


def written(**of: Any) -> list[tuple[str, int]]:
    """Return the types of the events and their endpoints, in the order of their writing."""
    return list(WebhookDelivery.objects.filter(**of).order_by("pk").values_list("event_type", "endpoint_id"))


@every_end
def test_each_end_writes_one_event_for_each_endpoint(
    end: Callable[[Account], Generation],
    event: str,
    hints: list[None],
    django_capture_on_commit_callbacks: Any,
) -> None:
    owner = factories.account()
    first, second = made.endpoint(owner), made.endpoint(owner)
    made.endpoint(factories.account())
    with django_capture_on_commit_callbacks(execute=True):
        generation = end(owner)
    assert written() == [(event, first.pk), (event, second.pk)]
    rows = list(WebhookDelivery.objects.all())
    assert len({row.event_id for row in rows}) == 1
    assert {row.tries_left for row in rows} == {MAX_TRIES}
    ended = Generation.objects.get(pk=generation.pk)
    assert {row.generation_id for row in rows} == {ended.pk}
    assert {row.created_at for row in rows} == {row.next_at for row in rows} == {ended.ended_at}
    assert len(hints) == 1


@every_end
def test_an_account_without_endpoints_writes_and_announces_nothing(
    end: Callable[[Account], Generation],
    event: str,
    hints: list[None],
    django_capture_on_commit_callbacks: Any,
) -> None:
    made.endpoint(factories.account(), subscribed=EVERYTHING)
    with django_capture_on_commit_callbacks(execute=True):
        end(factories.account())
    assert (written(), hints) == ([], [])


@every_end
def test_an_endpoint_gets_what_it_subscribes_to_while_it_is_enabled(
    end: Callable[[Account], Generation], event: str
) -> None:
    owner = factories.account()
    others = [each for each in events.DEFAULT if each != event]
    made.endpoint(owner, subscribed=others)
    made.endpoint(owner, is_enabled=False)
    deleted = made.endpoint(owner)
    endpoints.delete(endpoint_id=deleted.pk)
    mine = made.endpoint(owner, subscribed=[event])
    end(owner)
    assert written() == [(event, mine.pk)]


def _named(owner: Account, url: str | None) -> Generation:
    parameters = {"width": 512, "height": 512, "seed": 1, **({"webhook_url": url} if url else {})}
    submitted = factories.submit(owner, parameters=[parameters])
    return factories.finish(factories.claim(generation_id=submitted.pk, now=NOW))


def test_an_address_that_the_request_names_gets_the_end_by_the_default_endpoint() -> None:
    owner = factories.account()
    default = endpoints.default_of(account_id=owner.pk, now=NOW)
    generation = _named(owner, "https://one.example.com/")
    _named(owner, None)
    assert written() == [(events.COMPLETED, default.pk)]
    assert WebhookDelivery.objects.get().url == "https://one.example.com/"
    deletion.delete_image(generation_id=generation.pk, now=NOW)
    assert len(written()) == 1


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 1),
        ({"url": "https://other.example.com/"}, 2),
        ({"is_enabled": False}, 1),
        ({"subscribed": [events.FAILED]}, 1),
    ],
)
def test_an_address_that_is_also_an_endpoint_gets_the_event_once(changes: Any, count: int) -> None:
    owner = factories.account()
    endpoints.default_of(account_id=owner.pk, now=NOW)
    made.endpoint(owner, **{"url": "https://one.example.com/", **changes})
    _named(owner, "https://one.example.com/")
    urls = [row.url or row.endpoint.url for row in WebhookDelivery.objects.select_related("endpoint")]
    assert (len(urls), urls.count("https://one.example.com/")) == (count, 1)


def test_a_generation_that_starts_tells_so_once_and_only_those_who_want_it() -> None:
    owner = factories.account()
    made.endpoint(owner)
    mine = made.endpoint(owner, subscribed=[events.STARTED])
    queued = factories.submit(owner)
    running = factories.claim(generation_id=queued.pk, now=NOW)
    assert written() == [(events.STARTED, mine.pk)]
    generations.put_back(lease_tokens=[running.lease_token], now=NOW + timedelta(seconds=1))
    factories.claim(generation_id=queued.pk, now=NOW + timedelta(seconds=2))
    assert written() == [(events.STARTED, mine.pk)]


def test_an_image_that_is_deleted_tells_so_once_and_an_expired_one_does_not() -> None:
    owner = factories.account()
    mine = made.endpoint(owner, subscribed=[events.IMAGE_DELETED])
    one, two, three = (_complete(owner) for _ in range(3))
    deletion.delete_image(generation_id=one.pk, now=NOW)
    deletion.delete_image(generation_id=one.pk, now=NOW)
    deletion.delete_generation(generation_id=two.pk, now=NOW)
    deletion.delete_image(generation_id=three.pk, now=NOW + timedelta(hours=24))
    of = list(WebhookDelivery.objects.order_by("pk").values_list("generation_id", "endpoint_id"))
    assert of == [(one.pk, mine.pk), (two.pk, mine.pk)]


def test_an_end_that_is_undone_leaves_no_event(hints: list[None]) -> None:
    owner = factories.account()
    made.endpoint(owner)
    queued = factories.submit(owner)
    with transaction.atomic():
        generations.cancel(generation=queued, **ERROR, now=NOW)
        assert len(written()) == 1
        transaction.set_rollback(True)
    assert (written(), hints) == ([], [])


def test_a_completion_that_changes_nothing_writes_nothing() -> None:
    owner = factories.account()
    made.endpoint(owner)
    running = factories.claim(generation_id=factories.submit(owner).pk, now=NOW)
    generations.put_back(lease_tokens=[running.lease_token], now=NOW)
    with pytest.raises(generations.LeaseLost):
        factories.finish(running)
    assert written() == []


def test_the_database_refuses_a_second_event_of_one_end() -> None:
    owner = factories.account()
    made.endpoint(owner)
    generation = _complete(owner)
    with pytest.raises(IntegrityError), transaction.atomic():
        outbox.write(generation_id=generation.pk, event_type=events.COMPLETED, now=NOW)


def test_an_event_is_written_in_the_statement_that_completes() -> None:
    owner = factories.account()
    made.endpoint(owner)
    running = factories.claim(generation_id=factories.submit(owner).pk, now=NOW)
    image = factories.sealed()
    with CaptureQueriesContext(
        connection,
    ) as sent:
        generations.complete(generation=running, image=image, cost_micros=running.quote_micros, now=NOW)
    assert len(sent) == 1
    assert len(written()) == 1


def test_an_event_of_no_generation_has_its_own_data_and_goes_to_subscribers_alone(
    hints: list[None], django_capture_on_commit_callbacks: Any
) -> None:
    owner = factories.account()
    endpoints.default_of(account_id=owner.pk, now=NOW)
    made.endpoint(owner)
    mine = made.endpoint(owner, subscribed=["balance.low"])
    with django_capture_on_commit_callbacks(execute=True):
        count = outbox.emit(
            account_id=owner.pk, event_type="balance.low", data={"balance": "1.0000"}, now=NOW
        )
    assert (count, len(hints)) == (1, 1)
    row = WebhookDelivery.objects.get()
    assert (row.event_type, row.endpoint_id, row.data) == ("balance.low", mine.pk, {"balance": "1.0000"})


@pytest.mark.django_db(transaction=True)
def test_an_event_outside_of_a_transaction_is_a_mistake() -> None:
    with pytest.raises(RuntimeError):
        outbox.write(generation_id=1, event_type=events.FAILED)
    with pytest.raises(RuntimeError):
        outbox.emit(account_id=1, event_type="balance.low", data={})
