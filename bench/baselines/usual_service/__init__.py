# mypy: ignore-errors
"""C5's A: the same paid API as a good engineer writes it in a day with Django, the REST framework and Celery.

It charges, queues, encrypts and keeps its images, and it has the API's keys, limits, history and envelope of errors.
It has no edits, no retries by Idempotency-Key, and no recovery of what a dying process held. Each waiting client
takes a thread.
"""

from bench.baselines.usual_service.celery import app

__all__ = ["app"]
