"""One GPU worker process: its attempts, heartbeat and idle poller. They know neither HTTP nor torch."""
