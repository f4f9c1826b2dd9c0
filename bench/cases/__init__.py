"""The cases: a module for each benchmark or for a few that measure one thing. Each defines BENCHMARKS."""
