"""The HTTP request and the trace that a generation belongs to."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Two columns that the release before this one leaves at their defaults."""

    dependencies = [
        ("workers", "0021_disabled_webhooks_told"),
    ]

    operations = [
        migrations.AddField(
            model_name="generation",
            name="request_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
        migrations.AddField(
            model_name="generation",
            name="traceparent",
            field=models.CharField(blank=True, db_default="", default="", max_length=55),
        ),
    ]
