"""Seeded lives of generations in a world where anything may die, be lost, come twice or stand still at any step."""
