"""Sealed bytes: stored images, the envelope, the object store and the purge. Knows nothing of money or HTTP."""
