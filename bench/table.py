"""The outcomes as one table for people."""

from collections.abc import Iterator, Sequence
from typing import Final

from bench.outcome import Measured, Outcome

_HEADINGS: Final = (
    "",
    "benchmark",
    "clock",
    "A",
    "B",
    "figure",
    "median",
    "spread",
    "at least",
    "aim",
    "reached",
)


def format_lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield a row for each figure. A and B are seconds of one call, the spread is from lowest to highest round."""
    rows = [_HEADINGS, *(row for outcome in outcomes for row in _format_rows(outcome))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    for outcome in outcomes:
        context = ", as context and not as a goal" if outcome.benchmark.is_context else ""
        yield f"{outcome.benchmark.code} {outcome.benchmark.name}{context}"
        yield f"  A: {outcome.benchmark.a}"
        yield f"  B: {outcome.benchmark.b}"


def _format_rows(outcome: Outcome) -> Iterator[tuple[str, ...]]:
    benchmark = outcome.benchmark
    named: tuple[str, ...] = (
        benchmark.code,
        benchmark.name,
        benchmark.clock,
        _format_seconds(outcome.seconds("A")),
        _format_seconds(outcome.seconds("B")),
    )
    for measured in outcome.measured:
        yield *named, *_format_figure(measured)
        named = ("",) * len(named)


def _format_figure(measured: Measured) -> tuple[str, ...]:
    figure, unit = measured.figure, measured.figure.unit
    sign = "≤ " if figure.lower_is_better else "≥ "
    bounds = ("" if bound is None else f"{sign}{bound:g}{unit}" for bound in (figure.at_least, figure.aim))
    spread = f"{min(measured.samples):.4g} … {max(measured.samples):.4g}"
    return figure.name, f"{measured.median:.4g}{unit}", spread, *bounds, measured.verdict


def _format_seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.3g} ms"
