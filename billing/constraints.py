"""Conditions that the tables of money share."""

from django.db.models import F, Q
from django.db.models.functions import Mod
from django.db.models.lookups import Exact


def whole(*fields: str) -> Q:
    """Return the condition that every field is a multiple of 100 micros, so four decimal places are exact."""
    condition = Q()
    for field in fields:
        condition &= Q(Exact(Mod(F(field), 100), 0))
    return condition
