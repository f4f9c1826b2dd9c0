"""The validation of the constraint, in a transaction of its own, so that it blocks no writer."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    """The constraint `account_debt` holds for every row."""

    dependencies = [("billing", "0017_account_debt")]

    operations = [ValidateConstraint("account", "account_debt")]
