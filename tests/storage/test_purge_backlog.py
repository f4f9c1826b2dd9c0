"""The purge's backlog: both halves of it, its age, and an index for each half."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from storage import images, purge_backlog
from storage.models import StoredImage
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


def test_without_images_there_is_no_backlog() -> None:
    assert purge_backlog.read() == (0, 0.0)


def test_the_backlog_counts_keys_and_bytes_that_are_due_and_the_age_of_the_oldest() -> None:
    now = timezone.now()
    expired, destroyed, live = (factories.record(factories.sealed()) for _ in range(3))
    StoredImage.objects.filter(pk=live.pk).update(expires_at=now + timedelta(hours=1))
    StoredImage.objects.filter(pk=expired.pk).update(expires_at=now - timedelta(seconds=300))
    # It expires later, but its key is destroyed already.
    StoredImage.objects.filter(pk=destroyed.pk).update(expires_at=now + timedelta(hours=1))
    images.destroy_keys(image_ids=[destroyed.pk], now=now - timedelta(seconds=7000))
    backlog = purge_backlog.read()
    assert backlog.image_count == 2
    assert 7000 <= backlog.oldest_seconds < 8000
    images.purge(now=now)
    assert purge_backlog.read() == (0, 0.0)


def test_a_long_backlog_is_counted_no_further_than_a_limit() -> None:
    assert purge_backlog._READ.count(f"LIMIT {purge_backlog.MAX_COUNTED_ROWS}") == 2


def test_the_backlog_is_read_by_the_indexes_of_the_purge() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        try:
            cursor.execute(f"EXPLAIN {purge_backlog._READ}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        finally:
            cursor.execute("RESET enable_seqscan")
    assert "storage_image_to_delete" in plan
    assert "storage_image_key_to_destroy" in plan
    assert "Seq Scan" not in plan
