"""The columns of asynchronous generations, of requested cancellations, and of clients that were lost."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns that the release before this one leaves at their defaults."""

    dependencies = [("workers", "0005_generation_with_prompt"), ("billing", "0005_async_holds")]

    operations = [
        migrations.AddField("generation", "is_async", models.BooleanField(db_default=False, default=False)),
        migrations.AddField("generation", "queue_until", models.DateTimeField(null=True)),
        migrations.AddField("generation", "cancel_requested_at", models.DateTimeField(null=True)),
        migrations.AddField("generation", "client_lost_at", models.DateTimeField(null=True)),
        migrations.AddField(
            "generation",
            "lost_digest",
            models.CharField(max_length=64, blank=True, db_default="", default=""),
        ),
    ]
