"""Choices of the fault schedule."""

from itertools import islice

from tests.chaos.fault_schedule import choices, lanes_of_kinds
from tests.chaos.faults import KINDS


def _first(count: int, seed: str) -> list[tuple[str, float]]:
    return [(name, chance.random()) for name, chance in islice(choices(seed, ["a", "b", "c", "d"]), count)]


def test_every_kind_of_fault_is_in_one_lane() -> None:
    assert sorted(name for lane in lanes_of_kinds() for name in lane) == sorted(KINDS)
    assert len(KINDS) >= 15


def test_a_seed_replays_the_choice_of_faults() -> None:
    assert _first(40, "7 0") == _first(40, "7 0") != _first(40, "8 0")


def test_every_kind_comes_before_any_comes_again() -> None:
    names = [name for name, _ in _first(40, "7 0")]
    assert all(set(names[place : place + 4]) == set("abcd") for place in range(0, 40, 4))
