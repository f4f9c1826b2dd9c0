"""Pages and filters for operators: health, metrics, redacted logs. They know no endpoint and change no data."""
