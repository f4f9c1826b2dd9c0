"""The audit that runs by itself: what it logs and leaves behind, and that beat sends it off."""

import logging

import pytest
from django.conf import settings
from django.db import connection
from pytest_django import Settings

from tests import factories
from workers import tasks
from workers.audit import scheduled
from workers.messaging.redis_client import connection as broker
from zekron_api.celery import app

pytestmark = pytest.mark.django_db(transaction=True)
ERRORS = [("workers.audit.scheduled", logging.ERROR)]


@pytest.fixture(autouse=True)
def no_outcome() -> None:
    """As before the first audit."""
    broker().flushdb()


def tamper() -> None:
    """Every account counts an entry that it does not have."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE billing_account SET entry_count = entry_count + 1")


def test_an_audit_that_finds_nothing_logs_nothing_and_leaves_its_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    factories.account()
    assert scheduled.read_last() is None
    tasks.audit_ledger()
    outcome = scheduled.read_last()
    assert outcome is not None
    assert outcome.problem_count == 0
    assert caplog.records == []


def test_each_problem_is_one_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    accounts = [factories.account(), factories.account()]
    tamper()
    assert scheduled.run().problem_count == 2
    assert caplog.record_tuples == [
        (*ERRORS[0], f"audit: account {account.pk}: counts 2 entries and has 1") for account in accounts
    ]


def test_the_log_names_no_more_problems_than_a_limit_and_says_how_many_there_are(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        factories.account()
    tamper()
    monkeypatch.setattr(scheduled, "MAX_LOGGED_FINDINGS", 3)
    assert scheduled.run() == scheduled.read_last()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 4
    assert caplog.messages[-1] == "audit: 2 more problems; audit_ledger prints them"
    outcome = scheduled.read_last()
    assert outcome is not None
    assert outcome.problem_count == 5


def test_a_later_audit_replaces_the_outcome() -> None:
    factories.account()
    tamper()
    before = scheduled.run()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE billing_account SET entry_count = entry_count - 1")
    after = scheduled.run()
    assert (before.problem_count, after.problem_count) == (1, 0)
    assert scheduled.read_last() == after
    assert after.ended_at_seconds > before.ended_at_seconds


def test_without_redis_the_log_has_the_problems_all_the_same(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    factories.account()
    tamper()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert scheduled.run().problem_count == 1
    assert [record.levelno for record in caplog.records if record.name == "workers.audit.scheduled"] == [
        logging.ERROR,
        logging.WARNING,
    ]


def test_everything_that_beat_sends_is_a_task_and_the_audit_is_among_it() -> None:
    app.loader.import_default_modules()
    sent = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert sent <= set(app.tasks)
    assert tasks.audit_ledger.name in sent
    # What is not routed elsewhere is for the queue `chores`, so no GPU waits for an audit.
    assert tasks.audit_ledger.name not in settings.CELERY_TASK_ROUTES
    assert settings.CELERY_TASK_DEFAULT_QUEUE == "chores"
