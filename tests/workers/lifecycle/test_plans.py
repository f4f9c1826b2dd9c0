"""The statements of every request, every generation and every round look at few rows, however many there are."""

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models.functions import Now
from pytest_django import Settings

from billing import keys
from billing.models import Account
from storage import images
from tests import factories
from tests.processes import database_url
from tests.workers.lifecycle.plans import Plan, plans_of
from workers.lifecycle import (
    admission,
    erasure,
    generations,
    history,
    idempotency,
    image_tokens,
    queries,
    queue_position,
    recovery,
)
from workers.lifecycle.idempotency import Idempotency
from workers.messaging import counters, enqueue
from workers.models import OPEN_STATUSES, Generation, Status

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

# Of each kind; every table below has thousands.
COMPLETED, FAILED, QUEUED, OF_ANOTHER_MODEL, RUNNING = 20_000, 10_000, 8_000, 8_000, 1_000
# As many rows and pages as a statement may touch, of one row and its indexes and of a batch of so many.
ROWS, BLOCKS = 20, 150
LARGE = {
    "billing_account",
    "billing_apikey",
    "billing_ledgerentry",
    "billing_reservation",
    "storage_storedimage",
    "workers_generation",
    "workers_idempotencykey",
}

# One account has very many; the others have few.
_OTHERS = """
INSERT INTO billing_account (name, status, balance_micros, reserved_micros, spent_micros, settlement_count,
    hold_count, open_hold_count, entry_count)
SELECT format('plan %%s', n), 'active', 1000000000, 0, 0, 0, 1000000, 0, 1 FROM generate_series(1, 5000) AS n;
INSERT INTO billing_apikey (account_id, name, digest, prefix, last_four)
SELECT id, '', format('digest of %%s', id), 'zk_live_none', 'none' FROM billing_account;
INSERT INTO billing_ledgerentry (account_id, sequence, kind, amount_micros, balance_after_micros,
    reserved_after_micros, actor, reason)
SELECT id, 1, 'credit', 1000000000, 1000000000, 0, 'test', 'opening balance' FROM billing_account;
INSERT INTO storage_storedimage (object_key, bound_to, mime_type, byte_count, algorithm, master_key_id, wrapped_key,
    expires_at, key_destroyed_at, purged_at)
SELECT format('plan/%%s', n), 'test', 'image/png', 9, 'A256CBC-HS512', 'a',
    CASE WHEN n %% 2 = 0 THEN '\\x00'::bytea END, now() + (n %% 24 - 1) * interval '1 hour',
    CASE WHEN n %% 2 = 1 THEN now() END, CASE WHEN n %% 4 = 1 THEN now() END
FROM generate_series(1, %(completed)s) AS n;
"""
_GENERATIONS = """
WITH numbered AS (
    SELECT n, first.id + n %% 2 * (n %% 4999) AS account_id,
        CASE WHEN %(status)s = 'completed' THEN (SELECT min(id) - 1 FROM storage_storedimage) + n END AS image_id
    FROM generate_series(1, %(count)s) AS n, (SELECT min(id) AS id FROM billing_account) AS first
), reservation AS (
    INSERT INTO billing_reservation (account_id, quote_micros, resolution, settled_micros, resolved_at)
    SELECT account_id, 26700, %(resolution)s, CASE WHEN %(status)s = 'completed' THEN 26700 END,
        CASE WHEN %(resolution)s <> '' THEN now() END
    FROM numbered ORDER BY n RETURNING id, account_id
), matched AS (
    SELECT id, account_id, row_number() OVER (ORDER BY id) AS n FROM reservation
)
INSERT INTO workers_generation
    (account_id, number, reservation_id, kind, model, prompt, parameters, quote_micros, status, attempt_count, turn_at,
     not_before, deadline_at, created_at, started_at, ended_at, hinted_at, lease_token, lease_until, image_id,
     cost_micros, token_digest, expires_at, error_code, error_type, error_detail)
SELECT m.account_id, %(before)s + row_number() OVER (PARTITION BY m.account_id ORDER BY m.id), m.id, 'create',
    %(model)s, 'a boat', '{"width": 512, "height": 512, "seed": 1}', 26700, %(status)s, 1,
    now() + m.n * interval '1 millisecond' - %(ahead)s * interval '1 hour', now(), now() + interval '1 day',
    now() + m.n * interval '1 millisecond' - interval '1 hour', now(),
    CASE WHEN %(resolution)s <> '' THEN now() END, now() + interval '1 hour',
    CASE WHEN %(status)s = 'running' THEN gen_random_uuid() END,
    CASE WHEN %(status)s = 'running' THEN now() + interval '1 hour' END,
    image_id, CASE WHEN %(status)s = 'completed' THEN 26700 END,
    CASE WHEN %(status)s = 'completed' THEN format('token %%s', m.n) END,
    CASE WHEN %(status)s = 'completed' THEN now() + interval '1 day' END, '', '', ''
FROM matched m JOIN numbered USING (n)
"""
_KEYS = """
INSERT INTO workers_idempotencykey (account_id, key_digest, request_digest, generation_id, created_at)
SELECT account_id, format('key %s', id), 'request', id, now() FROM workers_generation
"""


def _fill() -> None:
    kinds = (
        (Status.COMPLETED, COMPLETED, "zekron-image-1", 0, "settled"),
        (Status.FAILED, FAILED, "zekron-image-1", 0, "released"),
        (Status.QUEUED, QUEUED, "zekron-image-1", 0, ""),
        # Their turn comes before all others.
        (Status.QUEUED, OF_ANOTHER_MODEL, "another", 1, ""),
        (Status.RUNNING, RUNNING, "zekron-image-1", 0, ""),
    )
    with connection.cursor() as cursor:
        cursor.execute(_OTHERS, {"completed": COMPLETED})
        for before, (status, count, model, ahead, resolution) in enumerate(kinds):
            values: dict[str, Any] = {
                "status": status,
                "count": count,
                "model": model,
                "ahead": ahead,
                "resolution": resolution,
            }
            cursor.execute(_GENERATIONS, {**values, "before": 100_000 * before})
        cursor.execute(_KEYS)
        cursor.execute("VACUUM ANALYZE")


@pytest.fixture(scope="module")
def crowded(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Tables with tens of thousands of rows, of which the planner knows."""
    with django_db_blocker.unblock():
        try:
            _fill()
            yield
        finally:
            call_command("flush", interactive=False, verbosity=0)


@pytest.fixture(autouse=True)
def nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hints go nowhere."""
    monkeypatch.setattr(enqueue, "send", lambda *, generation_id: None)


def refuse_costly(work: Callable[[], object], *, rows: int = ROWS, blocks: int = BLOCKS) -> list[Plan]:
    """Fails when a statement of the work reads a large table from end to end, or touches more than so much."""
    plans = plans_of(work)
    assert plans
    for plan in plans:
        assert not plan.read_whole & LARGE, str(plan)
        assert plan.rows_looked_at <= rows, str(plan)
        assert plan.blocks_touched <= blocks, str(plan)
    return plans


@pytest.fixture
def owner(crowded: None) -> Account:
    """Make the account with half of all generations."""
    return Account.objects.order_by("pk")[0]


def test_a_request_is_known_by_its_key_and_its_balance_is_in_the_same_row(owner: Account) -> None:
    _, text = keys.issue(account_id=owner.pk)
    refuse_costly(lambda: keys.authenticate(text=text))


def test_a_submission_with_an_idempotency_key(owner: Account) -> None:
    named = Idempotency(key_digest="a new key", request_digest="request")
    refuse_costly(lambda: idempotency.find(account_id=owner.pk, idempotency=named))
    refuse_costly(lambda: factories.submit(owner, open_limit=10**6, now=None, idempotency=named))


@pytest.mark.parametrize("models", [None, {"zekron-image-1"}, {"another"}, {"zekron-image-1", "another"}])
def test_the_next_generation_is_claimed_whatever_else_waits(owner: Account, models: set[str] | None) -> None:
    refuse_costly(lambda: generations.claim_next(models=models))


def test_a_generation_from_its_claim_to_its_end(owner: Account) -> None:
    queued = factories.submit(owner, open_limit=10**6, now=None)
    running = factories.claim(generation_id=queued.pk)
    assert running.lease_token is not None
    refuse_costly(lambda: generations.renew(lease_tokens=[running.lease_token, uuid.uuid4()]))
    image = factories.sealed()
    refuse_costly(lambda: generations.complete(generation=running, image=image, cost_micros=26_700))
    refuse_costly(lambda: queries.get(generation_id=running.pk))
    token = image_tokens.token_of(generation_id=running.pk)
    refuse_costly(lambda: queries.find_by_token(token=token))


def test_a_sweep_with_nothing_to_do(owner: Account) -> None:
    plans = refuse_costly(recovery.sweep)
    assert len(plans) >= 4


def test_a_sweep_that_takes_a_batch_back_or_hints_at_one_looks_at_that_batch_alone(owner: Account) -> None:
    over, batch = Now() + timedelta(hours=2), recovery.MAX_ROWS_PER_SWEEP
    hint = partial(recovery.take_due_hints, limit=batch, interval_seconds=15, now=over)
    for work in (hint, partial(recovery.rescue, limit=batch, now=over), hint):
        refuse_costly(work, rows=2 * batch, blocks=60 * batch)


@pytest.mark.parametrize("offset", [0, 10_000, 20_000])
def test_a_page_of_the_history_is_as_cheap_at_its_end(owner: Account, offset: int) -> None:
    total = Generation.objects.filter(account=owner, number__lt=100_000).count()
    refuse_costly(
        lambda: queries.get_page(account_id=owner.pk, total=total, limit=20, offset=min(offset, total - 20)),
        # Each in the index, and then in the table.
        rows=40,
    )


@pytest.mark.parametrize("with_time", [False, True])
@pytest.mark.parametrize(
    "filters",
    [
        {},
        *({"status": status} for status in Status),
        {"kind": "create"},
        # None of the account's generations is one of these.
        {"kind": "edit"},
        {"model": "none"},
        {"status": Status.FAILED, "kind": "edit"},
        {"status": Status.CANCELLED, "model": "another"},
    ],
)
def test_a_filtered_page_is_bounded_wherever_it_begins(
    owner: Account, filters: dict[str, Any], with_time: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MAX_ROWS_PER_PAGE", 500)
    times: dict[str, Any] = {"since": factories.LONG_AGO, "until": Now()} if with_time else {}
    # A row counts in an index and in the table, and so do its dead versions, which the tests before left.
    # Limits bound an account's open generations, which may be read whole. The account here has more.
    is_open = filters.get("status") in OPEN_STATUSES
    mine = Generation.objects.filter(account=owner).order_by("number")
    # The numbers of this account have gaps, and a page's last row must exist.
    for before in (mine[600], mine[8_000], mine.filter(status=Status.FAILED)[4_000]):
        ask = partial(
            history.find_page,
            account_id=owner.pk,
            total=0,
            filters=history.Filters(**filters, **times),
            before=history.Position(before.created_at, before.number),
            limit=20,
        )
        refuse_costly(ask, rows=20_000 if is_open else 2_500, blocks=10_000 if is_open else 2_500)


def test_a_purge_looks_at_its_batch_alone(owner: Account) -> None:
    batch = images.BATCH_ROWS
    plans = plans_of(lambda: images.purge(limit=100))
    # It may read a small table from end to end, where finding each row of the batch by its id would cost more.
    assert all(plan.blocks_touched <= 60 * batch for plan in plans), "\n".join(map(str, plans))
    assert any("storage_image_key_to_destroy" in str(plan) for plan in plans)
    assert any("storage_image_to_delete" in str(plan) for plan in plans)


def test_what_is_open_is_counted_no_further_than_asked(owner: Account) -> None:
    refuse_costly(lambda: queries.count_open(most=100), rows=200)


def test_a_count_of_what_ended_of_late_looks_at_that_alone(
    crowded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "RECENT", timedelta(0))
    [plan] = refuse_costly(counters.read_ended_by_error, rows=0)
    assert "generation_ended_by_error" in str(plan)


def test_a_position_in_the_queue_is_counted_no_further_than_its_bound(
    owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pages that another test has changed and rolled back cost an index scan a look at the table for each row.
    with psycopg.connect(database_url(), autocommit=True) as beside:
        beside.execute("VACUUM workers_generation")
    monkeypatch.setattr(queue_position, "_seen", {})
    monkeypatch.setattr(admission, "find_speed", lambda **_: None)
    monkeypatch.setattr(admission, "predict_wait_seconds", lambda **_: None)
    last = Generation.objects.filter(status=Status.QUEUED, model="zekron-image-1").latest("turn_at")
    found = []

    def find() -> None:
        place = queue_position.find_place(
            model=last.model, turn_at=last.turn_at, generation_id=last.pk, clock=lambda: 0.0
        )
        found.append(place)

    turns, running = refuse_costly(find, rows=queue_position.MAX_POSITION + 1, blocks=1_500)
    assert "generation_model_turn" in str(turns)
    assert "generation_running" in str(running)
    assert found == [(None, None)]
    assert QUEUED > 4 * queue_position.MAX_POSITION
    # The second one that asks in the same second sends nothing.
    assert plans_of(find) == []


def test_who_waits_is_looked_up_by_id(owner: Account) -> None:
    ids = list(Generation.objects.order_by("pk").values_list("pk", flat=True)[:500])
    refuse_costly(lambda: queries.find_ended(generation_ids=ids), rows=500, blocks=2000)


# The last one, because the new versions of its batch stay in the indexes of the tests after it.
def test_an_erasure_of_old_prompts_looks_at_its_batch_alone(owner: Account, settings: Settings) -> None:
    settings.PROMPT_RETENTION = timedelta(days=1)
    batch = recovery.MAX_ROWS_PER_SWEEP
    refuse_costly(partial(erasure.erase_old, limit=batch), rows=0)
    soon = Now() + timedelta(days=2)
    refuse_costly(partial(erasure.erase_old, limit=batch, now=soon), rows=2 * batch, blocks=60 * batch)
