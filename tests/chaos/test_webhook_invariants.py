"""Each invariant of webhooks is silent about what must be, and speaks up about an event that is missing or wrong."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tests.chaos import table
from tests.chaos.receiver import TAKEN, Attempt
from tests.chaos.snapshot import Snapshot
from tests.chaos.webhook_invariants import INVARIANTS

ENDS = {1: "completed", 2: "failed", 3: "cancelled"}


def _snapshot() -> Snapshot:
    made = {
        number: SimpleNamespace(id=number, account_id=10 + number, status=status)
        for number, status in {**ENDS, 4: "running"}.items()
    }
    return Snapshot(
        accounts={},
        entries={},
        reservations={},
        generations=made,
        images={},
        source_image_ids=set(),
        object_keys=(),
    )


def _attempts() -> list[Attempt]:
    """Return what came: each end, one of them at the second attempt, and one of them twice."""
    came = [
        Attempt(0.0, 10 + number, f"msg_{number}", f"generation.{status}", number, TAKEN)
        for number, status in ENDS.items()
    ]
    return [came[0]._replace(answer="500"), *came, came[2]]


def _found(attempts: list[Attempt]) -> dict[str, list[str]]:
    found = {
        name.partition(",")[0]: list(invariant(_snapshot(), attempts))
        for name, invariant in INVARIANTS.items()
    }
    return {name: lines for name, lines in found.items() if lines}


def _without_the_second(attempts: list[Attempt]) -> None:
    attempts[:] = [each for each in attempts if each.generation_id != 2]


def _first_never_taken(attempts: list[Attempt]) -> None:
    attempts[1] = attempts[1]._replace(answer="close")


def _first_under_another_id(attempts: list[Attempt]) -> None:
    attempts[0] = attempts[0]._replace(webhook_id="msg_9")


def _second_under_the_id_of_the_first(attempts: list[Attempt]) -> None:
    attempts[2] = attempts[2]._replace(webhook_id="msg_1")


def _more(**changes: object) -> Callable[[list[Attempt]], None]:
    def add(attempts: list[Attempt]) -> None:
        attempts.append(attempts[-1]._replace(webhook_id="msg_8", **changes))  # type: ignore[arg-type]

    return add


TOLD, ELSE, ID = "11 every end told to its account", "11 no other end", "11 one id an event"


def test_nothing_is_said_of_events_that_came_as_they_must() -> None:
    assert _found(_attempts()) == {}
    assert _found([]).keys() == {TOLD}


@pytest.mark.parametrize(
    ("name", "breaks", "line"),
    [
        (TOLD, _without_the_second, "generation 2 of account 12: generation.failed never arrived"),
        (TOLD, _first_never_taken, "generation 1 of account 11: generation.completed was never taken"),
        (ELSE, _more(account_id=11), "account 11: generation.cancelled came of generation 3 of account 13"),
        (
            ELSE,
            _more(event_type="generation.failed"),
            "account 13: generation.failed came of generation 3, which is cancelled",
        ),
        (
            ELSE,
            _more(generation_id=4, account_id=14, event_type="generation.completed"),
            "account 14: generation.completed came of generation 4, which is running",
        ),
        (
            ELSE,
            _more(generation_id=9),
            "account 13: generation.cancelled came of generation 9, which has no row",
        ),
        (
            ID,
            _first_under_another_id,
            "generation 1: generation.completed came under 2 ids: ['msg_1', 'msg_9']",
        ),
        (
            ID,
            _second_under_the_id_of_the_first,
            "msg_1 is the id of 2 events: [(1, 'generation.completed'), (2, 'generation.failed')]",
        ),
    ],
)
def test_an_invariant_speaks_up_when_it_is_broken(
    name: str, breaks: Callable[[list[Attempt]], None], line: str
) -> None:
    attempts = _attempts()
    breaks(attempts)
    assert line in _found(attempts)[name]


def test_the_table_counts_events_attempts_and_repeats() -> None:
    head, answers, taken = table.webhooks(_attempts())
    assert head.startswith("Webhooks: 3 events in 5 attempts, 2 of them repeats; ")
    assert answers == "  answers: 4 204, 1 500"
    assert taken == "  taken: 3, taken more than once: 1, most attempts of one: 2"
    assert len(list(table.webhooks([]))) == 3
