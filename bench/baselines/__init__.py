"""The usual alternatives: small servers and workers to compare with, as their documentation shows them."""
