"""The index of the count of generations that failed or were cancelled within the last hour."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """An index that is built beside the work, outside of a transaction."""

    atomic = False

    dependencies = [("workers", "0011_cancel_permission")]

    operations = [
        AddIndexConcurrently(
            "generation",
            models.Index("ended_at", name="generation_ended_by_error", condition=~Q(error_type="")),
        ),
    ]
