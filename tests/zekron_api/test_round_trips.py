"""How often one generation goes to the database. It grows unseen, and every request pays for it."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing import keys
from tests import stage
from workers import attempt, generations
from workers.catalogue import catalogue
from zekron_api import ending, ordering

pytestmark = pytest.mark.django_db(transaction=True)
# What frames a transaction goes along with its first or last statement's trip or is counted with it.
FRAMES = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE SAVEPOINT")


def _statements(queries: CaptureQueriesContext) -> list[str]:
    return [query["sql"] for query in queries if not query["sql"].startswith(FRAMES)]


def _fields() -> dict[str, object]:
    return {"prompt": "a boat", "size": (512, 512), "model": catalogue()["zekron-image-1"], "images": []}


def test_a_create_takes_six_statements_at_the_front_and_four_in_the_worker():
    owner = stage.account()
    _, key = keys.issue(account_id=owner.pk)
    with stage.studio(stage.StandInEngine()) as studio:
        studio.heartbeat.beat()
        with CaptureQueriesContext(connection) as asked:
            account = keys.authenticate(text=key)
            placed = ordering.place(account_id=account.pk, fields=_fields(), idempotency_key=None)
        with CaptureQueriesContext(connection) as worked:
            attempt.run_next(studio=studio)
        with CaptureQueriesContext(connection) as answered:
            ending.reply_for(generation_id=placed.generation.pk)
    front = _statements(asked) + _statements(answered)
    worker = _statements(worked)
    assert len(front) <= 6, "\n".join(front)
    assert len(worker) <= 4, "\n".join(worker)
    assert generations.Generation.objects.get(pk=placed.generation.pk).status == "completed"
