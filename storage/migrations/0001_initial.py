"""The table of stored images."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    """The first schema of the package."""

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="StoredImage",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("object_key", models.CharField(max_length=200, unique=True)),
                ("bound_to", models.CharField(max_length=200)),
                ("mime_type", models.CharField(max_length=100)),
                ("byte_count", models.BigIntegerField()),
                ("algorithm", models.CharField(max_length=32)),
                ("master_key_id", models.CharField(max_length=16)),
                ("wrapped_key", models.BinaryField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("expires_at", models.DateTimeField()),
                ("key_destroyed_at", models.DateTimeField(null=True)),
                ("purged_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("wrapped_key__isnull", False)),
                        fields=["expires_at"],
                        name="storage_image_key_to_destroy",
                    ),
                    models.Index(
                        condition=models.Q(("purged_at__isnull", True), ("wrapped_key__isnull", True)),
                        fields=["id"],
                        name="storage_image_to_delete",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("byte_count__gt", 0)), name="storage_image_has_bytes"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("bound_to", ""), _negated=True), name="storage_image_is_bound"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("key_destroyed_at__isnull", True), ("wrapped_key__isnull", False)),
                            models.Q(("key_destroyed_at__isnull", False), ("wrapped_key__isnull", True)),
                            _connector="OR",
                        ),
                        name="storage_image_key_is_there_until_destroyed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("purged_at__isnull", True), ("wrapped_key__isnull", True), _connector="OR"
                        ),
                        name="storage_image_purged_has_no_key",
                    ),
                ],
            },
        ),
    ]
