"""The work: a generation from queued to its end, the tasks, the batcher and the engine. Knows nothing of HTTP."""
