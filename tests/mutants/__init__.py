"""Mutation tests: each mutation is made in a private copy of the project, and some test must then go red."""
