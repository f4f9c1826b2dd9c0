"""The number of an account's webhooks that the service has disabled."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A column that the release before this one leaves as it is."""

    dependencies = [
        ("billing", "0021_use_of_rotated_keys"),
    ]

    operations = [
        migrations.AddField(
            model_name="account",
            name="disabled_webhook_count",
            field=models.SmallIntegerField(db_default=0, default=0, editable=False),
        ),
    ]
