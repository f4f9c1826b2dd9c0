"""The engine for FLUX.2-klein, driven from the pipeline's parts. Knows no other architecture."""
