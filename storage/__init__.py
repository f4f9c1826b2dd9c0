"""Sealed bytes: stored images, the envelope, the object store and the purge. Knows no money and no HTTP."""
