"""When an account was told of a webhook that the service disabled."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A column that the release before this one leaves empty."""

    dependencies = [
        ("workers", "0020_usage"),
    ]

    operations = [
        migrations.AddField(
            model_name="webhookendpoint",
            name="disabled_told_at",
            field=models.DateTimeField(null=True),
        ),
    ]
