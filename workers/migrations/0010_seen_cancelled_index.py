"""The index of an account's generations that were cancelled after a partial image of them was delivered."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """The index is built beside the work, outside of a transaction."""

    atomic = False

    dependencies = [("workers", "0009_partials_delivered")]

    operations = [
        AddIndexConcurrently(
            "generation",
            models.Index(
                "account",
                "ended_at",
                name="generation_seen_cancelled",
                condition=Q(status="cancelled", are_partials_delivered=True),
            ),
        ),
    ]
