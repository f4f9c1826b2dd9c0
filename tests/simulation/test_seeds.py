"""Invariants of every scenario, for the first seeds; `make simulate` runs thousands more."""

from collections import Counter
from collections.abc import Iterator

import pytest

from billing import holds
from tests.simulation import run_many
from tests.simulation.faults import Fault
from tests.simulation.scenario import Simulation, simulation
from workers.lifecycle import attempt_statements
from workers.models import Status

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

SEED_COUNT = 60
DELETIONS = {"deleted", "image deleted"}


@pytest.fixture
def simulated() -> Iterator[Simulation]:
    """Open the simulation that scenarios run in."""
    with simulation() as opened:
        yield opened


def test_no_scenario_violates_anything_and_together_they_meet_every_fault_and_every_end(
    simulated: Simulation,
) -> None:
    happened: Counter[str] = Counter()
    for seed in range(SEED_COUNT):
        scenario = simulated.run(seed=seed)
        assert not scenario.violations, run_many.report(scenario)
        happened.update(scenario.happened)
    # Had nobody made a picture, nothing could have been charged twice either.
    assert {*Fault, *Status, *(f"cancel {status}" for status in Status), *DELETIONS} <= {*happened}
    assert happened[Status.COMPLETED] > SEED_COUNT / 2


def test_a_seed_gives_the_same_scenario_whatever_ran_before(simulated: Simulation) -> None:
    seeds = range(1000, 1006)
    traces = {seed: simulated.run(seed=seed).trace for seed in seeds}
    assert {seed: simulated.run(seed=seed).trace for seed in reversed(seeds)} == traces
    assert len({tuple(trace) for trace in traces.values()}) == len(seeds)


def test_a_violation_is_told_with_its_course_and_how_to_see_it_again(
    simulated: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge, nothing = holds.settle(after="leased"), "entry AS (SELECT reservation_id FROM leased)"
    monkeypatch.setattr(attempt_statements, "COMPLETE", attempt_statements.COMPLETE.replace(charge, nothing))
    scenarios = (simulated.run(seed=seed) for seed in range(20))
    told = run_many.report(next(scenario for scenario in scenarios if scenario.violations))
    assert "running → completed" in told
    assert "a generation is completed, and its hold is open" in told
    assert "make simulate SIMULATE_FIRST=" in told
