"""The log of deliveries, and what is sent again."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from tests.workers.webhooks import made
from tests.workers.webhooks.made import NOW, later
from workers.webhook_models import WebhookDelivery
from workers.webhooks import claims, deliveries, endpoints, events
from workers.webhooks.schedule import MAX_TRIES
from workers.webhooks.sending import Outcome

pytestmark = pytest.mark.django_db


def fresh(row: WebhookDelivery) -> WebhookDelivery:
    return WebhookDelivery.objects.get(pk=row.pk)


@pytest.mark.parametrize("outcome", [made.TAKEN, made.FAILED])
def test_a_replay_keeps_the_message_id_and_begins_a_new_schedule(outcome: Outcome) -> None:
    endpoint = made.endpoint()
    made.delivery(endpoint, tries_left=1)
    [claimed] = made.claim(endpoint)
    claims.record(delivery=claimed, outcome=outcome, now=NOW)
    assert fresh(claimed).next_at is None
    deliveries.replay(delivery=claimed, now=later(hours=1))
    row = fresh(claimed)
    assert (row.next_at, row.tries_left, row.delivered_at) == (later(hours=1), MAX_TRIES, None)
    [again] = made.claim(endpoint, now=later(hours=1))
    assert (again.message_id, again.attempt_count) == (claimed.message_id, 2)


def test_what_is_being_sent_is_not_sent_twice_by_a_replay() -> None:
    endpoint = made.endpoint()
    made.delivery(endpoint)
    [claimed] = made.claim(endpoint)
    deliveries.replay(delivery=claimed, now=NOW)
    assert fresh(claimed).lease_token == claimed.lease_token
    assert made.claim(endpoint) == []


def test_a_recovery_sends_what_failed_in_its_time_and_nothing_else() -> None:
    endpoint, other = made.endpoint(), made.endpoint()
    ended = {"next_at": None, "tries_left": 0}
    failed = [made.delivery(endpoint, created_at=later(hours=n), **ended) for n in range(5)]
    delivered = made.delivery(endpoint, created_at=later(hours=2), delivered_at=later(hours=2), **ended)
    waits = made.delivery(endpoint, created_at=later(hours=2), next_at=later(days=1))
    foreign = made.delivery(other, created_at=later(hours=2), **ended)
    count = deliveries.recover(
        endpoint_id=endpoint.pk, since=later(hours=1), until=later(hours=3), now=later(hours=9)
    )
    assert count == 2
    due = WebhookDelivery.objects.filter(next_at=later(hours=9), tries_left=MAX_TRIES)
    assert set(due) == {failed[1], failed[2]}
    assert fresh(delivered).next_at is None
    assert fresh(waits).next_at == later(days=1)
    assert fresh(foreign).next_at is None


def test_a_disabled_endpoint_is_sent_nothing_again() -> None:
    endpoint = made.endpoint()
    row = made.delivery(endpoint, next_at=None)
    endpoints.change(endpoint_id=endpoint.pk, changes={"is_enabled": False})
    with pytest.raises(endpoints.EndpointDisabled):
        deliveries.replay(delivery=row)
    with pytest.raises(endpoints.EndpointDisabled):
        deliveries.recover(endpoint_id=endpoint.pk, since=NOW, until=later(hours=1))
    with pytest.raises(endpoints.EndpointDisabled):
        deliveries.send_test(endpoint=endpoint)
    assert fresh(row).next_at is None


def test_a_test_event_is_for_one_endpoint_whatever_it_subscribes_to(
    hints: list[None], django_capture_on_commit_callbacks: object
) -> None:
    endpoint = made.endpoint(subscribed=[events.FAILED])
    made.endpoint()
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        sent = deliveries.send_test(endpoint=endpoint, now=NOW)
    assert (sent.event_type, sent.data, sent.next_at) == (events.TEST, {"webhook_id": endpoint.pk}, NOW)
    assert WebhookDelivery.objects.get() == sent
    assert len(hints) == 1


def test_the_log_is_read_page_by_page_newest_first() -> None:
    endpoint = made.endpoint()
    rows = [made.delivery(endpoint) for _ in range(5)]
    made.delivery(made.endpoint())
    first = deliveries.get_page(endpoint_id=endpoint.pk, before=None, limit=3)
    assert list(first) == rows[:1:-1]
    assert list(deliveries.get_page(endpoint_id=endpoint.pk, before=first[-1].pk, limit=3)) == rows[1::-1]


def test_the_log_is_kept_for_seven_days_and_purged_in_batches() -> None:
    endpoint = made.endpoint()
    for _ in range(3):
        made.delivery(endpoint, next_at=None)
    young = made.delivery(endpoint, next_at=None, created_at=NOW + timedelta(seconds=1))
    under_way = made.delivery(endpoint)
    [claimed] = made.claim(endpoint)
    assert claimed == under_way
    assert deliveries.purge(limit=2, now=later(days=7, seconds=1)) == 2
    assert deliveries.purge(limit=2, now=later(days=7, seconds=1)) == 1
    assert deliveries.purge(limit=2, now=later(days=7, seconds=1)) == 0
    assert set(WebhookDelivery.objects.all()) == {young, under_way}


@pytest.mark.parametrize(
    "columns", [{"data": None}, {"next_at": None, "lease_token": "0" * 32}, {"delivered_at": NOW}]
)
def test_the_database_refuses_a_delivery_that_cannot_be(columns: dict[str, object]) -> None:
    row = made.delivery(made.endpoint())
    with pytest.raises(IntegrityError), transaction.atomic():
        WebhookDelivery.objects.filter(pk=row.pk).update(**columns)


def test_the_database_refuses_the_same_event_for_an_endpoint_twice() -> None:
    row = made.delivery(made.endpoint())
    with pytest.raises(IntegrityError), transaction.atomic():
        made.delivery(row.endpoint, event_id=row.event_id)
