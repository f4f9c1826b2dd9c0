"""The rename of StoredImage.bound_to to associated_data, for Django's state alone.

The table keeps its column `bound_to` and its check constraint, so the release before this migration can run beside it.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    """The rename in Django's state."""

    dependencies = [("storage", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                # RenameField does not rename a field inside a check constraint.
                migrations.RemoveConstraint(model_name="storedimage", name="storage_image_is_bound"),
                migrations.RenameField(
                    model_name="storedimage", old_name="bound_to", new_name="associated_data"
                ),
                migrations.AlterField(
                    model_name="storedimage",
                    name="associated_data",
                    field=models.CharField(db_column="bound_to", max_length=200),
                ),
                migrations.AddConstraint(
                    model_name="storedimage",
                    constraint=models.CheckConstraint(
                        condition=models.Q(("associated_data", ""), _negated=True),
                        name="storage_image_is_bound",
                    ),
                ),
            ],
        ),
    ]
