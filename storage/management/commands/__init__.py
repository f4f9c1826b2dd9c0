"""The management commands of storage, one a module."""
