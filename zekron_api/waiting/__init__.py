"""Waiting for a generation without a thread, and the bounded use of memory by requests and responses."""
