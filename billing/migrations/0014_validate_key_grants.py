"""The validation of the constraints, and the index of former texts, without a lock that stops a writer."""

from django.contrib.postgres.operations import AddIndexConcurrently, ValidateConstraint
from django.db import migrations, models


class Migration(migrations.Migration):
    """The constraints of keys hold for every row, and a former text is found by an index."""

    atomic = False
    dependencies = [("billing", "0013_key_of_reservations")]

    operations = [
        AddIndexConcurrently("apikey", models.Index(name="apikey_former", fields=["former_digest"])),
        ValidateConstraint("apikey", "apikey_counters_not_negative"),
        ValidateConstraint("apikey", "apikey_within_spend_limit"),
        ValidateConstraint("apikey", "apikey_limits"),
        ValidateConstraint("apikey", "apikey_spend_period"),
    ]
