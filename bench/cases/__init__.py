"""One module a benchmark, or a few that measure one thing. Each says what A is, and has `BENCHMARKS`."""
