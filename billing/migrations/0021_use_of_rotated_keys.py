"""The use of the present text of a key since its rotation."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A column that the release before this one leaves as it is."""

    dependencies = [
        ("billing", "0020_alerts"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="is_text_used",
            field=models.BooleanField(db_default=True, default=True, editable=False),
        ),
    ]
