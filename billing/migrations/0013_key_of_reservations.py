"""The key whose counters a hold moved."""

import django.db.models.deletion
from django.db import migrations, models

# Whoever waits behind a migration that waits for this table, where every hold writes, would wait as long.
GIVE_UP = migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop)


class Migration(migrations.Migration):
    """A column that the release before this one leaves empty. To add it reads no row of the table.

    If the table stays locked for five seconds, the migration fails, has changed nothing and can be run again.
    """

    dependencies = [("billing", "0012_key_grants")]

    operations = [
        GIVE_UP,
        migrations.AddField(
            model_name="reservation",
            name="api_key",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.apikey",
            ),
        ),
    ]
