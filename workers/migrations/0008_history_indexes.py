"""The indexes of the history's pages by a status without an image, and by the time of acceptance."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """Indexes that are built beside the work, outside of a transaction."""

    atomic = False

    dependencies = [("workers", "0007_async_indexes")]

    operations = [
        AddIndexConcurrently(
            "generation",
            models.Index(
                "account",
                "status",
                "number",
                name="generation_without_image",
                condition=Q(status__in=("failed", "cancelled")),
            ),
        ),
        AddIndexConcurrently(
            "generation",
            models.Index("account", "created_at", "number", name="generation_created"),
        ),
    ]
