"""A form of the admin is known by an id, so that the second click on it moves no money."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0002_ledger_append_only"),
    ]

    operations = [
        migrations.AddField(
            model_name="ledgerentry",
            name="request_id",
            field=models.UUIDField(blank=True, null=True, unique=True),
        ),
    ]
