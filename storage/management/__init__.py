"""The management commands of storage."""
