"""The management commands of billing."""
