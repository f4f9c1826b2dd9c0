"""Benchmarks: what each part costs beside what one would have otherwise. `make bench` runs them."""
