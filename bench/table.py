"""The outcomes as one table for people."""

from collections.abc import Iterator, Sequence

from bench.outcome import Measured, Outcome

_HEADINGS = ("", "benchmark", "clock", "A", "B", "figure", "median", "spread", "at least", "aim", "reached")


def lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """A row for each figure; A and B in seconds a piece, the spread from the lowest to the highest round."""
    rows = [_HEADINGS, *(row for outcome in outcomes for row in _rows(outcome))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    for outcome in outcomes:
        yield f"{outcome.benchmark.code} {outcome.benchmark.name}"
        yield f"  A: {outcome.benchmark.a}"
        yield f"  B: {outcome.benchmark.b}"


def _rows(outcome: Outcome) -> Iterator[tuple[str, ...]]:
    benchmark = outcome.benchmark
    named: tuple[str, ...] = (
        benchmark.code,
        benchmark.name,
        benchmark.clock,
        _seconds(outcome.seconds("A")),
        _seconds(outcome.seconds("B")),
    )
    for measured in outcome.measured:
        yield *named, *_figure(measured)
        named = ("",) * len(named)


def _figure(measured: Measured) -> tuple[str, ...]:
    figure, unit = measured.figure, measured.figure.unit
    sign = "≤ " if figure.lower_is_better else "≥ "
    bounds = ("" if bound is None else f"{sign}{bound:g}{unit}" for bound in (figure.at_least, figure.aim))
    spread = f"{min(measured.samples):.4g} … {max(measured.samples):.4g}"
    return figure.name, f"{measured.median:.4g}{unit}", spread, *bounds, measured.verdict


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.3g} ms"
