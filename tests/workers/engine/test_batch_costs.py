from workers.engine.batch_costs import RETRY_AFTER, BatchCosts


def costs(seconds_by_size: dict[int, float]) -> BatchCosts:
    measured = BatchCosts()
    for size, seconds in seconds_by_size.items():
        measured.add("key", size=size, seconds=seconds)
    return measured


def test_what_is_not_measured_is_tried_first() -> None:
    assert costs({}).choose_size("key", available=4) == 4
    assert costs({4: 2.0}).choose_size("key", available=4) == 1
    assert costs({4: 2.0, 1: 1.0}).choose_size("key", available=3) == 3


def test_a_batch_that_saves_device_time_is_made() -> None:
    assert costs({1: 1.0, 4: 1.4}).choose_size("key", available=4) == 4
    assert costs({1: 1.0, 2: 1.2, 4: 4.0}).choose_size("key", available=4) == 2


def test_a_batch_that_saves_nothing_is_not_made() -> None:
    measured = costs({1: 1.0, 2: 1.98, 4: 3.92})
    assert [measured.choose_size("key", available=4) for _ in range(5)] == [1] * 5


def test_a_batch_is_tried_again_after_many_decisions_against_it() -> None:
    measured = costs({1: 1.0, 4: 4.0})
    sizes = [measured.choose_size("key", available=4) for _ in range(2 * RETRY_AFTER)]
    assert [number for number, size in enumerate(sizes, start=1) if size == 4] == [
        RETRY_AFTER,
        2 * RETRY_AFTER,
    ]


def test_each_key_has_its_own_costs() -> None:
    measured = costs({1: 1.0, 4: 4.0})
    assert measured.choose_size("other", available=4) == 4


def test_one_unusual_batch_changes_the_costs_by_a_fifth() -> None:
    measured = costs({1: 1.0, 4: 2.0})
    measured.add("key", size=4, seconds=12.0)
    # (0.5 + 0.2 * (3.0 - 0.5)) = 1.0 for each order
    assert measured.choose_size("key", available=4) == 1


def test_an_order_waits_for_company_unless_company_is_known_to_save_nothing() -> None:
    assert costs({}).is_worth_waiting("key")
    assert costs({1: 1.0}).is_worth_waiting("key")
    assert costs({1: 1.0, 4: 1.4}).is_worth_waiting("key")
    assert not costs({1: 1.0, 4: 3.92}).is_worth_waiting("key")
