"""The key that asked for a generation."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """A column that the release before this one leaves empty. To add it reads no row.

    If the table stays locked for five seconds, the migration fails, has changed nothing and can be run again.
    """

    dependencies = [("billing", "0010_keys_of_holds"), ("workers", "0016_made_picture")]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
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
