"""The migrations of the tables of storage."""
