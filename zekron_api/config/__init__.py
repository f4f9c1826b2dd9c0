"""Parsers of environment variables. They know neither Django nor the clients of what the values describe."""
