"""The validation of the constraint, in a transaction of its own, so that it blocks no writer."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    """The constraint `entry_key_of_hold` holds for every row."""

    dependencies = [("billing", "0010_keys_of_holds")]

    operations = [ValidateConstraint("ledgerentry", "entry_key_of_hold")]
