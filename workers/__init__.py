"""Workers: generations from the queue to their end, Celery tasks, batcher and engines. Knows nothing of HTTP."""
