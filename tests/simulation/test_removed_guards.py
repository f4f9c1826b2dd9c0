"""Removed guards: without any one of them a few scenarios show the harm, or the delay, that it prevents."""

import re
from collections.abc import Iterator

import pytest

from tests.simulation.removed_guards import REMOVED
from tests.simulation.scenario import Simulation, simulation
from workers.lifecycle import attempt_statements

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.long]

# Several times what any of them takes as the code is now.
MAX_SCENARIOS = 100


@pytest.fixture
def simulated() -> Iterator[Simulation]:
    """Open the simulation that scenarios run in."""
    with simulation() as opened:
        yield opened


@pytest.mark.parametrize("guard", REMOVED)
def test_the_harm_is_seen_within_a_few_scenarios_without(simulated: Simulation, guard: str) -> None:
    removed = REMOVED[guard]
    # The simulation replaces some of the same functions, so its own are put back before it ends.
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(attempt_statements, "CLAIM", removed.claim)
        for owner in removed.owner if isinstance(removed.owner, tuple) else (removed.owner,):
            patches.setattr(owner, removed.name, removed.instead)
        seeds = (removed.seed, *range(MAX_SCENARIOS))
        scenarios = (simulated.run(seed=seed, beset_by=removed.beset_by) for seed in seeds)
        assert any(re.search(removed.said, line) for scenario in scenarios for line in scenario.violations)
