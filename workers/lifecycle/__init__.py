"""Life of a generation: submission, transitions, recovery, queries. Knows neither HTTP nor devices nor pictures."""
