from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    # What is built beside the work is built outside of a transaction.
    atomic = False

    dependencies = [("workers", "0003_number_and_turn")]

    operations = [
        AddIndexConcurrently(
            "generation",
            models.Index(
                "model", "turn_at", "id", name="generation_model_turn", condition=Q(status="queued")
            ),
        ),
        RemoveIndexConcurrently("generation", "generation_turn"),
    ]
