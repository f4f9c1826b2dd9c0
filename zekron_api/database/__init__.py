"""Django's backend for PostgreSQL, which asks less: the ENGINE of the settings."""
