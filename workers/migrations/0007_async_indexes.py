"""The indexes of the sweep's look for what waited too long, and of the look for a lost client's generation."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """Two indexes that are built beside the work, outside of a transaction."""

    atomic = False

    dependencies = [("workers", "0006_async")]

    operations = [
        AddIndexConcurrently(
            "generation",
            models.Index(
                "queue_until",
                name="generation_queue_until",
                condition=Q(status="queued", queue_until__isnull=False),
            ),
        ),
        AddIndexConcurrently(
            "generation",
            models.Index(
                "account",
                "lost_digest",
                name="generation_lost_client",
                condition=Q(client_lost_at__isnull=False),
            ),
        ),
    ]
