"""The key that asked for a generation."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """A column that the release before this one leaves empty. To add it reads no row."""

    dependencies = [("billing", "0009_keys_of_holds"), ("workers", "0016_made_picture")]

    operations = [
        migrations.AddField(
            "generation",
            "api_key",
            models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.apikey",
            ),
        ),
    ]
