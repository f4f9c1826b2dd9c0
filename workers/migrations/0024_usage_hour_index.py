"""The index that finds the hours of all accounts in the roll-up, for the overview of staff."""

from django.contrib.postgres.indexes import BrinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    """An index that is built beside the work, outside of a transaction."""

    atomic = False

    dependencies = [("workers", "0023_refund_permission")]

    operations = [
        AddIndexConcurrently(
            "usagehour", BrinIndex(fields=["hour"], name="usage_hour_of_all", autosummarize=True)
        ),
    ]
