"""Statements that are written once say what the ORM would say each time."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Model
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries

from storage import statements
from storage.models import StoredImage
from storage.statements import Statement
from tests import factories
from tests.factories import NOW
from workers.lifecycle import generations, queries
from workers.models import Generation, Timestamp

pytestmark = pytest.mark.django_db


def _due_by(moment: Timestamp) -> Statement[Generation]:
    return statements.selection(Generation.objects.filter(not_before__lte=moment))


def _values(row: Model) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def _image(name: str) -> StoredImage:
    return StoredImage(
        object_key=name,
        associated_data="test",
        mime_type="image/png",
        byte_count=9,
        algorithm="A256CBC-HS512",
        master_key_id="a",
        wrapped_key=b"\x00\xff%s",
        expires_at=Now() + timedelta(hours=24),
    )


def test_an_inserted_row_is_the_one_that_save_would_insert() -> None:
    inserted, saved = _image("one"), _image("other")
    statements.insert(inserted)
    saved.save(force_insert=True)
    rows = StoredImage.objects.in_bulk([inserted.pk, saved.pk])
    for row in (inserted, saved):
        assert row.created_at == rows[row.pk].created_at
    assert rows[inserted.pk].object_key == "one"
    assert bytes(rows[inserted.pk].wrapped_key) == bytes(rows[saved.pk].wrapped_key) == b"\x00\xff%s"
    assert rows[inserted.pk].created_at + timedelta(hours=24) <= rows[inserted.pk].expires_at
    assert inserted in rows.values()


def test_what_a_claim_gives_is_the_row_as_it_is_then() -> None:
    claimed = factories.claim(generation_id=factories.submit(factories.account()).pk, now=factories.NOW)
    row = Generation.objects.get(pk=claimed.pk)
    names = [field.attname for field in Generation._meta.concrete_fields]
    assert {name: getattr(claimed, name) for name in names} == {name: getattr(row, name) for name in names}


def test_after_the_first_generation_no_claim_and_no_completion_is_written_anew() -> None:
    owner = factories.account()

    def make() -> None:
        clock = Now()
        factories.submit(owner, now=clock)
        image = factories.sealed()
        claimed = generations.claim_next()
        generations.complete(generation=claimed, image=image, cost_micros=claimed.quote_micros)

    make()
    written = statements._kept.cache_info().misses
    make()
    assert statements._kept.cache_info().misses == written


def test_a_generation_is_read_as_the_orm_reads_it_with_its_image_and_account(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    running = factories.claim(generation_id=factories.submit(factories.account()).pk, now=factories.NOW)
    done = factories.finish(running)
    with django_assert_num_queries(1):
        found = queries.get(generation_id=done.pk)
        assert found.image is not None
        read = [_values(each) for each in (found, found.image, found.account)]
    plain = Generation.objects.select_related("image", "account").get(pk=done.pk)
    assert plain.image is not None
    assert read == [_values(each) for each in (plain, plain.image, plain.account)]


def test_a_generation_without_an_image_has_none_and_one_that_is_not_there_is_missed() -> None:
    queued = factories.submit(factories.account())
    assert queries.get(generation_id=queued.pk).image is None
    with pytest.raises(Generation.DoesNotExist):
        queries.get(generation_id=queued.pk + 1)


def test_a_statement_that_finds_two_rows_is_refused() -> None:
    for _ in range(2):
        factories.submit(factories.account())
    with pytest.raises(AssertionError):
        statements.selection(Generation.objects.all()).one()


def test_moments_are_told_apart_and_the_databases_clock_is_always_the_same_one() -> None:
    generation = factories.submit(factories.account(), now=NOW)
    early, late = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)
    found = [statements.written(_due_by, moment).one() for moment in (early, late, early)]
    assert found == [None, generation, None]
    hence = [Now() + timedelta(seconds=seconds) for seconds in (1, 1, 2)]
    first, same, other = [statements.written(_due_by, moment) for moment in hence]
    assert first is same is not other
