"""The management commands of billing, one a module."""
