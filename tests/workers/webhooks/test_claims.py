"""Claims under leases, the share of each endpoint, and what the outcome of an attempt changes."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction

from tests import factories
from tests.workers.lifecycle.plans import plans_of
from tests.workers.webhooks import made
from tests.workers.webhooks.made import FAILED, NOW, TAKEN, claim, later
from workers.webhook_models import DisabledReason, WebhookDelivery, WebhookEndpoint
from workers.webhooks import claims, endpoints
from workers.webhooks.claims import LEASE_SECONDS, Room
from workers.webhooks.schedule import DELAYS_SECONDS, MAX_TRIES
from workers.webhooks.sending import Outcome

pytestmark = pytest.mark.django_db


def fresh(row: Any) -> Any:
    return type(row).objects.get(pk=row.pk)


def test_a_claim_leases_what_is_due_and_nothing_else() -> None:
    endpoint = made.endpoint()
    due, waits = made.delivery(endpoint), made.delivery(endpoint, next_at=later(seconds=1))
    made.delivery(endpoint, next_at=None)
    [claimed] = claim(endpoint)
    assert (claimed.pk, claimed.attempt_count, claimed.tries_left) == (due.pk, 1, MAX_TRIES - 1)
    assert claimed.next_at == later(seconds=LEASE_SECONDS)
    assert claim(endpoint) == []
    assert fresh(waits).lease_token is None


def test_the_deliveries_of_one_endpoint_are_claimed_four_at_a_time_the_oldest_first() -> None:
    one, two = made.endpoint(), made.endpoint()
    mine = [made.delivery(one, next_at=later(seconds=-n)) for n in range(9)]
    other = made.delivery(two)
    claimed = claim(one, two)
    assert {each.pk for each in claimed} == {*(each.pk for each in mine[-4:]), other.pk}
    assert claim(one, two) == []
    claims.record(delivery=claimed[0], outcome=TAKEN, now=NOW)
    claims.record(delivery=claimed[1], outcome=FAILED, now=NOW)
    # One that fails gets a single attempt at once, and more are under way.
    assert claim(one) == []


def test_an_endpoint_that_fails_gets_one_attempt_at_once_until_it_succeeds() -> None:
    endpoint = made.endpoint()
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(failure_count=1)
    for _ in range(6):
        made.delivery(endpoint)
    [claimed] = claim(endpoint)
    claims.record(delivery=claimed, outcome=TAKEN, now=NOW)
    assert len(claim(endpoint)) == 4


def test_failing_endpoints_have_a_share_of_the_room_and_leave_the_rest_to_others() -> None:
    failing = [made.endpoint() for _ in range(3)]
    WebhookEndpoint.objects.update(failure_count=7)
    healthy = made.endpoint()
    for endpoint in (*failing, healthy):
        for _ in range(4):
            made.delivery(endpoint)
    claimed = claim(*failing, healthy, room=Room(6, 2))
    of = [each.endpoint_id for each in claimed]
    assert sorted(of) == [failing[0].pk, failing[1].pk, *[healthy.pk] * 4]


def test_no_more_are_claimed_than_there_is_room_for() -> None:
    endpoints_ = [made.endpoint() for _ in range(3)]
    for endpoint in endpoints_:
        for _ in range(4):
            made.delivery(endpoint)
    assert len(claim(*endpoints_, room=Room(6, 6))) == 6


def test_a_disabled_endpoint_gets_nothing_even_if_something_waits() -> None:
    endpoint = made.endpoint(is_enabled=False)
    made.delivery(endpoint)
    assert claim(endpoint) == []


def test_a_lease_that_ends_without_a_record_makes_the_delivery_due_again() -> None:
    endpoint = made.endpoint()
    made.delivery(endpoint)
    [first] = claim(endpoint)
    assert claim(endpoint, now=later(seconds=LEASE_SECONDS - 1)) == []
    [second] = claim(endpoint, now=later(seconds=LEASE_SECONDS))
    assert (second.pk, second.attempt_count) == (first.pk, 2)
    # The process that was taken for dead changes nothing any more.
    assert not claims.record(delivery=first, outcome=FAILED, now=later(seconds=LEASE_SECONDS))
    assert fresh(second).lease_token == second.lease_token
    assert fresh(endpoint).failure_count == 0
    assert claims.record(delivery=second, outcome=TAKEN, now=later(seconds=LEASE_SECONDS))


def test_a_lease_that_ends_at_the_last_try_still_brings_another_attempt() -> None:
    endpoint = made.endpoint()
    made.delivery(endpoint, tries_left=1)
    claim(endpoint)
    [again] = claim(endpoint, now=later(minutes=2))
    assert (again.attempt_count, again.tries_left) == (2, 0)
    claims.record(delivery=again, outcome=FAILED, now=NOW)
    assert fresh(again).next_at is None


def test_a_success_ends_the_delivery_and_clears_the_failures() -> None:
    endpoint = made.endpoint()
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(failure_count=9, failing_since=NOW)
    made.delivery(endpoint)
    [claimed] = claim(endpoint)
    assert claims.record(delivery=claimed, outcome=TAKEN, now=NOW)
    row = fresh(claimed)
    assert (row.next_at, row.lease_token, row.delivered_at) == (None, None, NOW)
    assert (row.response_status, row.error, row.milliseconds) == (200, "", 12)
    state = fresh(endpoint)
    assert (state.failure_count, state.failing_since, state.last_success_at) == (0, None, NOW)


def test_failures_follow_the_schedule_to_the_end() -> None:
    endpoint = made.endpoint()
    made.delivery(endpoint)
    now, waited = NOW, []
    while claimed := claim(endpoint, now=now):
        claims.record(delivery=claimed[0], outcome=FAILED, now=now)
        next_at = fresh(claimed[0]).next_at
        if next_at is None:
            break
        waited.append((next_at - now).total_seconds())
        now = next_at
    assert len(waited) == MAX_TRIES - 1
    for seconds, planned in zip(waited, DELAYS_SECONDS[1:], strict=True):
        assert planned <= seconds <= 1.2 * planned
    row = fresh(claimed[0])
    assert (row.attempt_count, row.delivered_at, row.error) == (MAX_TRIES, None, "status")


def test_a_busy_receiver_is_left_alone_for_as_long_as_it_asks() -> None:
    endpoint = made.endpoint()
    made.delivery(endpoint)
    [claimed] = claim(endpoint)
    claims.record(delivery=claimed, outcome=Outcome(503, "status", 1, retry_after_seconds=900), now=NOW)
    assert fresh(claimed).next_at == later(seconds=900)


def test_a_receiver_that_is_gone_is_disabled_and_nothing_waits_for_it_any_more() -> None:
    endpoint = made.endpoint()
    made.delivery(endpoint)
    [claimed] = claim(endpoint)
    waits = made.delivery(endpoint, next_at=later(hours=1))
    claims.record(delivery=claimed, outcome=Outcome(410, "status", 1), now=NOW)
    state = fresh(endpoint)
    assert (state.is_enabled, state.disabled_at, state.disabled_reason) == (False, NOW, DisabledReason.GONE)
    assert fresh(claimed).next_at is None
    assert (fresh(waits).next_at, fresh(waits).error) == (None, "webhook_disabled")


def test_an_address_of_a_request_that_is_gone_disables_nothing() -> None:
    owner = factories.account()
    default = endpoints.default_of(account_id=owner.pk, now=NOW)
    made.delivery(default, url=made.URL)
    [claimed] = claim(default)
    claims.record(delivery=claimed, outcome=Outcome(410, "status", 1), now=NOW)
    assert fresh(default).is_enabled
    assert fresh(default).failure_count == 0
    assert fresh(claimed).next_at is None


@pytest.mark.parametrize(
    ("failure_count", "hours", "is_disabled"), [(49, 24, True), (48, 24, False), (49, 23.99, False)]
)
def test_an_endpoint_is_disabled_after_fifty_failures_in_a_row_that_last_for_a_day(
    failure_count: int, hours: float, is_disabled: bool
) -> None:
    endpoint = made.endpoint()
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(failure_count=failure_count, failing_since=NOW)
    made.delivery(endpoint)
    now = later(hours=hours)
    [claimed] = claim(endpoint, now=now)
    claims.record(delivery=claimed, outcome=FAILED, now=now)
    state = fresh(endpoint)
    assert (not state.is_enabled, state.disabled_reason) == (
        is_disabled,
        DisabledReason.FAILING if is_disabled else "",
    )


def test_a_bad_hour_after_a_quiet_day_disables_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "MAX_FAILURES", 3)
    endpoint = made.endpoint()
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(last_success_at=NOW)
    for _ in range(4):
        made.delivery(endpoint, next_at=later(hours=30))
    for _ in range(4):
        [claimed] = claim(endpoint, now=later(hours=30), room=Room(1, 1))
        claims.record(delivery=claimed, outcome=FAILED, now=later(hours=30))
    state = fresh(endpoint)
    assert (state.is_enabled, state.failure_count) == (True, 4)


def test_a_look_finds_the_endpoints_with_something_due_one_after_the_other() -> None:
    waiting = [made.endpoint() for _ in range(5)]
    for endpoint in waiting:
        for _ in range(3):
            made.delivery(endpoint)
    made.endpoint()
    later_one = made.endpoint()
    made.delivery(later_one, next_at=later(hours=1))
    ids = [each.pk for each in waiting]
    assert claims.look(after_id=0, now=NOW) == (ids, 0)
    assert claims.look(after_id=0, limit=2, now=NOW) == (ids[:2], ids[1])
    assert claims.look(after_id=ids[1], limit=2, now=NOW) == (ids[2:4], ids[3])
    assert claims.look(after_id=ids[3], limit=5, now=NOW) == (ids[4:], 0)
    assert claims.look(after_id=0, now=later(hours=1)).due_ids == [*ids, later_one.pk]


@pytest.mark.django_db(transaction=True)
def test_two_processes_that_claim_at_once_keep_the_share_of_an_endpoint() -> None:
    busy, free = made.endpoint(), made.endpoint()
    for _ in range(20):
        made.delivery(busy)
    made.delivery(free)
    with transaction.atomic():
        WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=busy.pk)
        # Another process claims for the busy one at this moment.
        claimed = factories.at_once(2, lambda _: claim(busy, free))
    assert [each.endpoint_id for each in (*claimed[0], *claimed[1])] == [free.pk]
    together = factories.at_once(8, lambda _: claim(busy))
    assert sum(len(each) for each in together) == 4
    connections["default"].close()


# One endpoint has very many deliveries, and many endpoints have some. None is due.
_MANY = """
INSERT INTO workers_webhookdelivery (event_id, event_type, endpoint_id, data, url, created_at, next_at, attempt_count,
    tries_left, delivered_at, error)
SELECT gen_random_uuid(), 'webhook.test', CASE WHEN n %% 2 = 0 THEN %(busy)s ELSE %(first)s + n %% 100 END, '{}', '',
    %(now)s, CASE WHEN n %% 4 < 2 THEN %(now)s::timestamptz + interval '1 hour' END, 1, 5,
    CASE WHEN n %% 4 = 3 THEN %(now)s::timestamptz END, ''
FROM generate_series(1, 8000) n
"""


def test_a_round_reads_what_is_due_alone_however_many_wait_or_have_ended() -> None:
    owners = [factories.account() for _ in range(10)]
    many = [made.endpoint(owner) for owner in owners for _ in range(10)]
    busy = many[0]
    # Ids are counted up.
    assert many[-1].pk - many[0].pk == 99
    with connection.cursor() as cursor:
        cursor.execute(_MANY, {"busy": busy.pk, "first": many[0].pk, "now": NOW})
        cursor.execute("ANALYZE workers_webhookdelivery, workers_webhookendpoint")
    made.delivery(busy)
    [looked] = plans_of(lambda: claims.look(after_id=0, now=NOW))
    assert not looked.read_whole
    assert {node["Index Name"] for node in looked.nodes() if "Index Name" in node} == {
        "webhook_delivery_open"
    }
    # A row for each endpoint that it visits, and no more.
    assert looked.rows_looked_at <= 3 * claims.ENDPOINTS_PER_LOOK + 10
    claimed = plans_of(lambda: claim(busy))
    [update] = [plan for plan in claimed if plan.statement.lstrip().startswith("UPDATE")]
    assert not update.read_whole
    names = {node["Index Name"] for node in update.nodes() if "Index Name" in node}
    assert {"webhook_delivery_open", "webhook_delivery_leased"} <= names
    assert update.rows_looked_at <= 20
    assert WebhookDelivery.objects.filter(lease_token__isnull=False).count() == 1
    assert timedelta(0) < WebhookDelivery.objects.get(lease_token__isnull=False).next_at - NOW
