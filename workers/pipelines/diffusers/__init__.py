"""Engines around pipelines that diffusers runs itself, and their adapters. Knows no FLUX.2."""
