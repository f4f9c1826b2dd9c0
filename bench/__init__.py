"""Benchmarks of each part beside its usual alternative. `make bench` runs them."""
