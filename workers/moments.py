"""What a time is in the work: a datetime in tests, else the database's own clock, on which all machines agree."""

from datetime import datetime

from django.db.models.expressions import Combinable

Moment = datetime | Combinable
