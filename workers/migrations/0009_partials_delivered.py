"""The column that tells whether a client was sent a partial image."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A column that the release before this one leaves at its default."""

    dependencies = [("workers", "0008_history_indexes")]

    operations = [
        migrations.AddField(
            "generation", "are_partials_delivered", models.BooleanField(db_default=False, default=False)
        ),
    ]
