"""The row of a stored image: what is needed to find its object, to open it and to know when it ends.

Only `storage/images.py` writes it. Knows not what made the image nor who paid for it.
"""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class StoredImage(models.Model):
    """One sealed image. It has its key, then has lost it for ever, then has lost its bytes as well.

    A row without algorithm never was an image: it keeps an object that nobody recorded from being recorded late.
    """

    object_key = models.CharField(max_length=200, unique=True)
    # The column keeps its first name, so that no deployment has to rename it while two releases run.
    associated_data = models.CharField(max_length=200, db_column="bound_to")
    mime_type = models.CharField(max_length=100)
    byte_count = models.BigIntegerField()
    algorithm = models.CharField(max_length=32)
    master_key_id = models.CharField(max_length=16)
    wrapped_key = models.BinaryField(null=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()
    key_destroyed_at = models.DateTimeField(null=True)
    purged_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="storage_image_has_bytes", condition=Q(byte_count__gt=0)),
            models.CheckConstraint(name="storage_image_is_bound", condition=~Q(associated_data="")),
            models.CheckConstraint(
                name="storage_image_key_is_there_until_destroyed",
                condition=Q(wrapped_key__isnull=False, key_destroyed_at__isnull=True)
                | Q(wrapped_key__isnull=True, key_destroyed_at__isnull=False),
            ),
            models.CheckConstraint(
                name="storage_image_purged_has_no_key",
                condition=Q(purged_at__isnull=True) | Q(wrapped_key__isnull=True),
            ),
        ]
        # What the purge looks for, and nothing else: both stay small however many images there have been.
        indexes = [
            models.Index(
                name="storage_image_key_to_destroy",
                fields=["expires_at"],
                condition=Q(wrapped_key__isnull=False),
            ),
            models.Index(
                name="storage_image_to_delete",
                fields=["id"],
                condition=Q(wrapped_key__isnull=True, purged_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return self.object_key
