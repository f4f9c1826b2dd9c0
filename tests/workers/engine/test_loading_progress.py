"""Progress of loading: of real work, known or not, and never going back."""

from typing import Any

import pytest

from workers.engine import loading_progress
from workers.engine.loading_progress import COMPILING, DOWNLOADING, MAX_FRACTION, WEIGHTS, LoadingProgress


@pytest.fixture
def told() -> list[Any]:
    """Return the list of the stages and fractions that were told."""
    return []


def follow(told: list[Any], *, model_count: int = 1) -> LoadingProgress:
    progress = LoadingProgress(
        model_count=model_count, on_change=lambda: told.append((progress.stage, progress.fraction))
    )
    return progress


def test_the_fraction_is_the_part_of_the_bytes_that_are_loaded(told: list[Any]) -> None:
    with follow(told).follow_model():
        loading_progress.expect(WEIGHTS, 400)
        loading_progress.advance(WEIGHTS, 100)
        loading_progress.advance(WEIGHTS, 60)
    assert told == [(WEIGHTS, 0.0), (WEIGHTS, 0.25), (WEIGHTS, 0.4)]


def test_a_download_has_a_name_and_no_fraction(told: list[Any]) -> None:
    with follow(told).follow_model():
        loading_progress.expect(DOWNLOADING)
        loading_progress.expect(WEIGHTS, 10)
    assert told[:2] == [(DOWNLOADING, None), (WEIGHTS, 0.0)]


def test_the_stages_that_are_planned_count_the_same(told: list[Any]) -> None:
    with follow(told).follow_model():
        loading_progress.plan(WEIGHTS, COMPILING)
        loading_progress.expect(WEIGHTS, 10)
        loading_progress.advance(WEIGHTS, 10)
        loading_progress.expect(COMPILING, 4)
        loading_progress.advance(COMPILING)
    assert told == [
        (WEIGHTS, 0.0),
        (WEIGHTS, 0.5),
        (COMPILING, 0.5),
        (COMPILING, 0.625),
    ]


def test_models_are_loaded_one_after_the_other(told: list[Any]) -> None:
    progress = follow(told, model_count=2)
    for _ in range(2):
        with progress.follow_model():
            loading_progress.expect(WEIGHTS, 2)
            loading_progress.advance(WEIGHTS)
    assert [fraction for _, fraction in told] == [0.0, 0.25, 0.5, 0.75]


def test_an_adapter_that_tells_nothing_counts_once_its_model_is_loaded(told: list[Any]) -> None:
    progress = follow(told, model_count=2)
    assert progress.fraction is None
    with progress.follow_model():
        pass
    assert (progress.stage, progress.fraction) == ("", 0.5)


def test_weights_that_are_loaded_again_after_a_failed_compilation_take_nothing_back(told: list[Any]) -> None:
    with follow(told).follow_model():
        for _ in range(2):
            loading_progress.expect(WEIGHTS, 10)
            for _ in range(2):
                loading_progress.advance(WEIGHTS, 5)
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert max(fractions) == MAX_FRACTION


def test_a_failed_load_ends_the_following(told: list[Any]) -> None:
    with pytest.raises(LookupError), follow(told).follow_model():
        raise LookupError
    loading_progress.expect(WEIGHTS, 10)
    assert told == []
