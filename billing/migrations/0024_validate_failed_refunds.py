"""The validation of the constraint, in a transaction of its own, so that it blocks no writer."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    """The constraint `order_reversals` holds for every row."""

    dependencies = [("billing", "0023_failed_refunds")]

    operations = [ValidateConstraint("topuporder", "order_reversals")]
