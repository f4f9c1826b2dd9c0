"""Sealed bytes: stored images, the envelope, the object store and the purge.

The package knows no money and no HTTP.
"""
