"""Invariants of every scenario, for the first seeds; `make simulate` runs thousands more."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.simulation import run_many
from tests.simulation.faults import Fault
from tests.simulation.scenario import Theatre, theatre
from workers.models import Status

pytestmark = pytest.mark.django_db(transaction=True)

SEED_COUNT = 200


@pytest.fixture
def stage() -> Iterator[Theatre]:
    """Where lives are lived."""
    with theatre() as opened:
        yield opened


def test_no_life_violates_anything_and_together_they_meet_every_fault_and_every_end(stage: Theatre) -> None:
    happened: Counter[str] = Counter()
    for seed in range(SEED_COUNT):
        life = stage.live(seed=seed)
        assert not life.violations, run_many.report(life)
        happened.update(life.happened)
    # Had nobody made a picture, nothing could have been charged twice either.
    assert {*Fault, *Status} <= {*happened}
    assert happened[Status.COMPLETED] > SEED_COUNT / 2


def test_the_same_seed_is_the_same_life_whatever_was_lived_before(stage: Theatre) -> None:
    seeds = range(1000, 1006)
    traces = {seed: stage.live(seed=seed).trace for seed in seeds}
    assert {seed: stage.live(seed=seed).trace for seed in reversed(seeds)} == traces
    assert len({tuple(trace) for trace in traces.values()}) == len(seeds)


def test_a_violation_is_told_with_its_course_and_how_to_see_it_again(
    stage: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.ledger.settle", lambda **_: None)
    lives = (stage.live(seed=seed) for seed in range(20))
    told = run_many.report(next(life for life in lives if life.violations))
    assert "running → completed" in told
    assert "a generation is completed, and its hold is open" in told
    assert "make simulate SIMULATE_FIRST=" in told
