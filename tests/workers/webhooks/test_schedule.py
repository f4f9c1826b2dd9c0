"""When a delivery is tried again."""

import pytest

from workers.webhooks.schedule import DELAYS_SECONDS, MAX_TRIES, delay_seconds


def test_the_attempts_follow_the_published_schedule_and_fit_into_the_life_of_an_image() -> None:
    delays = [delay_seconds(tries_left=left, chance=lambda: 0.0) for left in range(MAX_TRIES, 0, -1)]
    assert delays == [0, 5, 30, 300, 1800, 7200, 18_000, 36_000]
    assert sum(DELAYS_SECONDS) * 1.2 < 24 * 3600


@pytest.mark.parametrize("tries_left", range(1, MAX_TRIES))
def test_each_delay_is_longer_by_up_to_a_fifth(tries_left: int) -> None:
    least = delay_seconds(tries_left=tries_left, chance=lambda: 0.0)
    most = delay_seconds(tries_left=tries_left, chance=lambda: 1.0)
    assert most == pytest.approx(1.2 * least)
    assert least <= delay_seconds(tries_left=tries_left) <= most


def test_a_busy_receiver_is_left_alone_for_as_long_as_it_asks_but_an_hour_at_most() -> None:
    def delay(retry_after_seconds: float, tries_left: int = 7) -> float:
        return delay_seconds(
            tries_left=tries_left, retry_after_seconds=retry_after_seconds, chance=lambda: 0.0
        )

    assert delay(60) == 60
    assert delay(10**9) == 3600
    # It cannot ask for an earlier attempt.
    assert delay(0) == 5
    assert delay(60, tries_left=2) == 18_000
