"""Benchmarks of the engine on a GPU, G1 to G7, with random weights of the true architecture.

They need torch, diffusers, transformers and the imports of `workers.pipelines`; no database, no Redis and no weights.
"""
