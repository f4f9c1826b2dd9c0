"""Plain SQL reads the rows that the ORM reads."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Model
from pytest_django import DjangoAssertNumQueries

from storage.models import StoredImage
from storage.postgresql import plain_sql
from tests import factories
from tests.factories import NOW
from workers.lifecycle import queries
from workers.models import Generation

pytestmark = pytest.mark.django_db
_TIME = f"SELECT {plain_sql.NOW}, statement_timestamp()"


def _values(row: Model) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def test_the_time_is_the_one_that_is_given_or_the_databases() -> None:
    [(given, _)] = plain_sql.execute(_TIME, {"now": NOW})
    [(read, expected)] = plain_sql.execute(_TIME, {"now": None})
    assert given == NOW
    assert read == expected


def test_a_recorded_image_is_the_one_that_was_put() -> None:
    put = factories.sealed()
    expected = _values(put)
    recorded = _values(StoredImage.objects.get(pk=factories.record(put).pk))
    assert bytes(recorded.pop("wrapped_key")) == expected.pop("wrapped_key")
    assert recorded["id"] is not None
    assert recorded["created_at"] is not None
    assert {**recorded, "id": None, "created_at": expected["created_at"]} == expected


def test_an_accepted_and_a_claimed_row_are_returned_as_they_are_in_the_table() -> None:
    [accepted] = factories.submit_all(factories.account())
    assert _values(accepted) == _values(Generation.objects.get(pk=accepted.pk))
    claimed = factories.claim(generation_id=accepted.pk, now=NOW)
    assert _values(claimed) == _values(Generation.objects.get(pk=claimed.pk))


def test_a_generation_is_read_as_the_orm_reads_it_with_its_image_and_account(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    running = factories.claim(generation_id=factories.submit(factories.account()).pk, now=NOW)
    done = factories.finish(running)
    with django_assert_num_queries(1):
        found = queries.get(generation_id=done.pk)
        assert found.image is not None
        read = [_values(each) for each in (found, found.image, found.account)]
    plain = Generation.objects.select_related("image", "account").get(pk=done.pk)
    assert plain.image is not None
    assert read == [_values(each) for each in (plain, plain.image, plain.account)]
    assert done.expires_at == plain.image.expires_at == NOW + timedelta(hours=24)


def test_a_generation_without_an_image_has_none_and_one_that_is_not_there_is_missed() -> None:
    queued = factories.submit(factories.account())
    assert queries.get(generation_id=queued.pk).image is None
    with pytest.raises(Generation.DoesNotExist):
        queries.get(generation_id=queued.pk + 1)
