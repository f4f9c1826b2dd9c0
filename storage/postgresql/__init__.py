"""Django's backend for PostgreSQL, with a time limit on every wait. The settings name the package as ENGINE."""
