"""The index of the entries that people make: credits and refunds."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """An index that is built beside the work, outside of a transaction."""

    atomic = False

    dependencies = [("billing", "0018_validate_account_debt")]

    operations = [
        AddIndexConcurrently(
            "ledgerentry",
            models.Index(
                "account", "sequence", name="entry_of_person", condition=Q(kind__in=["credit", "refund"])
            ),
        ),
    ]
