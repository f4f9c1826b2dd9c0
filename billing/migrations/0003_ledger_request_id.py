"""The id of a form in the admin, so that a second click on the form moves no money."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """The column `request_id`."""

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
