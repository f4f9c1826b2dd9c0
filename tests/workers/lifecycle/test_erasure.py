"""Erasure of prompts: what goes, what stays, and when."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.forms.models import model_to_dict
from pytest_django import Settings

from billing.audit import audit as audit_money
from tests import factories
from tests.factories import NOW
from workers.audit.rows import find_disagreements as audit_work
from workers.lifecycle import erasure, idempotency, recovery
from workers.messaging import enqueue
from workers.models import ENDED_STATUSES, OPEN_STATUSES, Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)
RETENTION = timedelta(days=30)
# The factories end a generation at NOW.
DUE = NOW + RETENTION


@pytest.fixture(autouse=True)
def retention(settings: Settings) -> None:
    """Keep prompts for 30 days."""
    settings.PROMPT_RETENTION = RETENTION


@pytest.fixture(autouse=True)
def nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hints go nowhere."""
    monkeypatch.setattr(enqueue, "send", lambda *, generation_id: None)


def columns(generation: Generation) -> dict[str, Any]:
    """Return everything that the row holds now."""
    return model_to_dict(Generation.objects.get(pk=generation.pk))


def prompts() -> list[str]:
    """Return all prompts, oldest generation first."""
    return list(Generation.objects.order_by("pk").values_list("prompt", flat=True))


@pytest.mark.parametrize("status", ENDED_STATUSES)
def test_the_prompt_and_the_seed_go_and_everything_else_stays(status: Any) -> None:
    generation = factories.generation_in(status, factories.account())
    before = columns(generation)
    assert erasure.erase(generation_ids=[generation.pk]) == 1
    after = columns(generation)
    assert (after.pop("prompt"), after.pop("parameters")) == ("", {"width": 512, "height": 512})
    assert after == {name: value for name, value in before.items() if name not in {"prompt", "parameters"}}
    assert Generation.objects.get(pk=generation.pk).size == "512x512"
    assert [*audit_money(), *audit_work()] == []


def test_a_parameter_that_nobody_listed_goes_too() -> None:
    generation = factories.generation_in(Status.COMPLETED, factories.account())
    more = {**generation.parameters, "metadata": {"customer": "ada"}, "negative_prompt": "rain"}
    Generation.objects.filter(pk=generation.pk).update(parameters=more)
    erasure.erase(generation_ids=[generation.pk])
    assert columns(generation)["parameters"] == {"width": 512, "height": 512}


@pytest.mark.parametrize("status", OPEN_STATUSES)
def test_an_open_generation_keeps_its_prompt_even_when_asked_for(status: Any) -> None:
    generation = factories.generation_in(status, factories.account())
    before = columns(generation)
    assert erasure.erase(generation_ids=[generation.pk]) == 0
    assert erasure.erase_old(limit=10, now=DUE + timedelta(days=365)) == 0
    assert columns(generation) == before


def test_a_prompt_is_erased_when_its_retention_is_over_and_not_before() -> None:
    factories.generation_in(Status.COMPLETED, factories.account())
    assert erasure.erase_old(limit=10, now=DUE - timedelta(seconds=1)) == 0
    assert prompts() == ["a boat"]
    assert erasure.erase_old(limit=10, now=DUE) == 1
    assert prompts() == [""]
    assert erasure.erase_old(limit=10, now=DUE) == 0


def test_without_a_retention_prompts_are_kept(settings: Settings) -> None:
    settings.PROMPT_RETENTION = None
    factories.generation_in(Status.COMPLETED, factories.account())
    assert erasure.erase_old(limit=10, now=DUE + timedelta(days=3650)) == 0
    assert prompts() == ["a boat"]


def test_a_batch_is_bounded_and_takes_the_oldest() -> None:
    owner = factories.account()
    ended = [factories.generation_in(Status.COMPLETED, owner) for _ in range(3)]
    for days, generation in zip((2, 3, 1), ended, strict=True):
        Generation.objects.filter(pk=generation.pk).update(ended_at=NOW - timedelta(days=days))
    assert erasure.erase_old(limit=2, now=DUE) == 2
    assert prompts() == ["", "", "a boat"]


def test_a_sweep_erases(settings: Settings) -> None:
    factories.generation_in(Status.FAILED, factories.account())
    recovery.sweep(now=DUE)
    assert prompts() == [""]


def test_an_erasure_passes_over_what_another_has_locked() -> None:
    generation = factories.generation_in(Status.COMPLETED, factories.account())
    with transaction.atomic():
        Generation.objects.select_for_update().get(pk=generation.pk)
        assert factories.at_once(1, lambda _: erasure.erase_old(limit=10, now=DUE)) == [0]


def test_no_key_outlives_the_shortest_retention() -> None:
    # A retry would otherwise find a generation whose prompt is gone.
    assert timedelta(days=1) >= idempotency.KEY_LIFE
