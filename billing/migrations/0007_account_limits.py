"""The limits that an account may have of its own."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """The columns of the limits, empty for every account, which therefore keeps the published ones."""

    dependencies = [("billing", "0006_validate_async_holds")]

    operations = [
        migrations.AddField("account", "requests_per_minute", models.IntegerField(blank=True, null=True)),
        migrations.AddField("account", "open_limit", models.IntegerField(blank=True, null=True)),
        migrations.AddField("account", "queue_limit", models.IntegerField(blank=True, null=True)),
        AddConstraintNotValid(
            "account",
            models.CheckConstraint(
                name="account_limits",
                condition=Q(
                    Q(requests_per_minute__isnull=True) | Q(requests_per_minute__gte=1),
                    Q(open_limit__isnull=True) | Q(open_limit__gte=1),
                    Q(queue_limit__isnull=True) | Q(queue_limit__gte=1),
                ),
            ),
        ),
    ]
