"""The index of the generations that people asked for."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """An index that is built beside the work, outside of a transaction."""

    atomic = False

    dependencies = [("workers", "0025_person")]

    operations = [
        AddIndexConcurrently(
            "generation",
            models.Index("person", name="generation_person", condition=Q(person__isnull=False)),
        ),
    ]
