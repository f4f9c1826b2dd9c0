"""The management commands for people's sign-in, one a module."""
