"""The harness: the order of its rounds, its verdicts on figures, and its results files. No benchmark is run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import registry, results, table
from bench.benchmark import Benchmark, Figure, Round, Skipped, compare_in_turn
from bench.outcome import Outcome, run

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


class Ticks:
    """A clock that moves only on request."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def spend(self, seconds: float) -> None:
        self.seconds += seconds


def benchmark(one_round: Round, *figures: Figure, name: str = "made-up") -> Benchmark:
    @contextmanager
    def prepare() -> Iterator[Round]:
        yield one_round

    return Benchmark(
        code="C99", name=name, a="the old way", b="ours", clock="CPU", figures=figures, prepare=prepare
    )


def outcome(value: float, figure: Figure, name: str = "made-up") -> Outcome:
    return run(benchmark(lambda _: {figure.name: value}, figure, name=name))


def test_a_and_b_take_turns_in_going_first_after_a_round_that_does_not_count() -> None:
    order: list[str] = []
    clock = Ticks()

    def work(name: str, seconds: float) -> None:
        order.append(name)
        # Everything is slow the first time.
        clock.spend(seconds if len(order) > 2 else 1000)

    one_round = compare_in_turn(lambda: work("A", 6.0), lambda: work("B", 2.0), clock=clock)
    made = run(benchmark(one_round, Figure(name="ratio", at_least=2, aim=4)))
    assert "".join(order) == "AB" + "ABBAABBAAB"
    assert [samples["ratio"] for samples in made.rounds] == [3.0] * 5
    assert (made.seconds("A"), made.seconds("B")) == (6.0, 2.0)


def test_a_call_that_is_repeated_counts_as_one() -> None:
    clock = Ticks()
    one_round = compare_in_turn(
        lambda: clock.spend(6), lambda: clock.spend(2), clock=clock, times_a=2, times_b=10
    )
    assert one_round(True) == {"A": 6.0, "B": 2.0, "ratio": 3.0}


def test_the_median_counts_and_not_one_round_that_was_disturbed() -> None:
    values = iter([0.0, 10.0, 11.0, 900.0, 12.0, 1.0])
    made = run(benchmark(lambda _: {"ratio": next(values)}, Figure(name="ratio", at_least=5, aim=20)))
    (measured,) = made.measured
    assert measured.median == 11.0
    assert measured.verdict == "at least"


@pytest.mark.parametrize(
    ("value", "verdict"), [(9.9, "MISSED"), (10.0, "at least"), (19.9, "at least"), (20.0, "aim")]
)
def test_a_ratio_is_to_be_high(value: float, verdict: str) -> None:
    (measured,) = outcome(value, Figure(name="ratio", at_least=10, aim=20)).measured
    assert measured.verdict == verdict


@pytest.mark.parametrize(("value", "verdict"), [(2.1, "MISSED"), (2.0, "at least"), (1.3, "aim")])
def test_growth_is_to_be_low(value: float, verdict: str) -> None:
    figure = Figure(name="growth", at_least=2, aim=1.3, lower_is_better=True)
    (measured,) = outcome(value, figure).measured
    assert measured.verdict == verdict


def test_a_figure_without_an_aim_reaches_none() -> None:
    (measured,) = outcome(99.0, Figure(name="ratio", at_least=10)).measured
    assert measured.verdict == "at least"
    (measured,) = outcome(99.0, Figure(name="a kind")).measured
    assert measured.verdict == ""


@pytest.mark.parametrize(("value", "verdict"), [(0.9, "aim"), (1.0, "aim"), (1.1, "")])
def test_an_aim_without_a_bound_is_reached_or_not_and_never_missed(value: float, verdict: str) -> None:
    (measured,) = outcome(value, Figure(name="beside it", aim=1.0, lower_is_better=True)).measured
    assert measured.verdict == verdict


def test_the_table_says_what_is_missed_and_what_a_and_b_are() -> None:
    lines = list(table.format_lines([outcome(9.0, Figure(name="ratio", at_least=10, aim=20))]))
    assert lines[1].split()[:2] == ["C99", "made-up"]
    assert lines[1].endswith("MISSED")
    assert "  A: the old way" in lines
    assert "  B: ours" in lines


def test_a_benchmark_that_is_only_context_is_called_so() -> None:
    made = outcome(9.0, Figure(name="ratio"))
    assert "C99 made-up" in table.format_lines([made])
    context = replace(made, benchmark=replace(made.benchmark, is_context=True))
    assert "C99 made-up, as context and not as a goal" in table.format_lines([context])


def test_benchmarks_are_in_the_order_of_their_codes() -> None:
    codes = [found.code for found in registry.list_benchmarks()]
    assert codes.index("C4") < codes.index("C5") < codes.index("C5c") < codes.index("C6") < codes.index("C10")


def test_a_second_run_of_a_day_keeps_the_others_of_that_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(results, "find_device", lambda: "A Chip (TM) 3000")
    figure = Figure(name="ratio", at_least=10, aim=20)
    for made in (
        outcome(9.0, figure, "first"),
        outcome(30.0, figure, "second"),
        outcome(15.0, figure, "first"),
    ):
        path = results.write(made, now=NOW, load=0.1)
    assert path.name == "2026-01-02-a-chip-tm-3000.json"
    kept = json.loads(path.read_text())
    assert kept["device"] == "A Chip (TM) 3000"
    reached = {name: one["figures"]["ratio"]["reached"] for name, one in kept["benchmarks"].items()}
    assert reached == {"C99 first": "at least", "C99 second": "aim"}
    assert list(tmp_path.iterdir()) == [path]


def test_each_benchmark_is_found_by_its_name_and_says_what_it_compares() -> None:
    every = registry.list_benchmarks()
    names = [found.name for found in every]
    assert len(set(names)) == len(names) >= 3
    for found in every:
        assert found in registry.find([found.name])
        assert found.large or found in registry.find([found.code.lower()])
        assert found.a
        assert found.b
        assert found.rounds >= 5
        has_goal = any(figure.at_least is not None or figure.aim is not None for figure in found.figures)
        assert has_goal != found.is_context


def test_a_large_benchmark_is_run_only_by_its_name() -> None:
    large = [found for found in registry.list_benchmarks() if found.large]
    assert large
    for found in large:
        assert found not in registry.find([])
        assert found not in registry.find([found.code])
        assert registry.find([found.name]) == [found]


def test_a_skipped_benchmark_is_named_with_its_reason_and_the_others_are_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_before_another(Skipped("there is no network"), "lacking", monkeypatch)
    assert command.main(["--discard"]) == 0
    printed = capsys.readouterr().out
    assert "C97 lacking was skipped: there is no network\n" in printed
    assert "made-up" in printed
    # The large benchmarks are named.
    assert "purge-large" in printed


def test_a_failing_benchmark_is_reported_and_the_others_are_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_before_another(RuntimeError("it broke"), "broken", monkeypatch)
    assert command.main(["--discard"]) == 1
    printed = capsys.readouterr().out
    assert "C97 broken failed: Traceback" in printed
    assert "RuntimeError: it broke" in printed
    assert "made-up" in printed


def put_before_another(error: Exception, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the registry find one benchmark that raises while it is prepared, and one that does not."""

    @contextmanager
    def prepare() -> Iterator[Round]:
        raise error
        yield

    ratio = Figure(name="ratio", at_least=1)
    stopped = Benchmark(code="C97", name=name, a="", b="", clock="", figures=(ratio,), prepare=prepare)
    monkeypatch.setattr(registry, "find", lambda _: [stopped, benchmark(lambda _: {"ratio": 2.0}, ratio)])


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(registry.UnknownBenchmark, match=r"^Unknown benchmark nothing\. Allowed: c1, "):
        registry.find(["png", "nothing"])
