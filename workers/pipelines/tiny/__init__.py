"""Small pipelines with random weights, for tests and for machines without a GPU. Knows no engine."""
