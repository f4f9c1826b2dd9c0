"""The permission to cancel a client's generation in the admin."""

from django.db import migrations


class Migration(migrations.Migration):
    """A change of Django's own tables alone, after the migration."""

    dependencies = [("workers", "0010_seen_cancelled_index")]

    operations = [
        migrations.AlterModelOptions(
            "generation", {"permissions": [("cancel_generation", "Can cancel generation")]}
        ),
    ]
