"""Seeded scenarios of generations, in which anything may die, be lost, come twice or stand still at any step."""
