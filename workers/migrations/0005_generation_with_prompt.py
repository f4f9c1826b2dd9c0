from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    # What is built beside the work is built outside of a transaction.
    atomic = False

    dependencies = [("workers", "0004_model_turn")]

    operations = [
        AddIndexConcurrently(
            "generation",
            models.Index(
                "ended_at", name="generation_with_prompt", condition=Q(ended_at__isnull=False) & ~Q(prompt="")
            ),
        ),
    ]
