"""Devices, compilation, attention and loading, for every engine. Knows no adapter and no architecture."""
