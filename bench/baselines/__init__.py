"""What one would have otherwise: small servers and workers to compare with, as their documentation shows them."""
