"""The migrations of the tables of billing."""
