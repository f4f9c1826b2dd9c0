"""The index of the generations of a group."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """An index that is built beside the work, outside of a transaction."""

    atomic = False

    dependencies = [("workers", "0013_groups")]

    operations = [
        AddIndexConcurrently(
            "generation",
            models.Index("group_id", name="generation_group", condition=Q(group_id__isnull=False)),
        ),
    ]
