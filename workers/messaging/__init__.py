"""Messaging over Redis and Celery: hints, completion events, worker registry, counters. Knows no engine and no HTTP."""
