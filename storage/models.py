"""The rows of stored images and of sealed secrets.

The row of an image holds everything to find its object, to open it and to know when it expires. Only
`storage/images.py` writes it. The module does not know what made the image or who paid for it.
"""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class StoredImage(models.Model):
    """One sealed image. It first has its key, then loses the key for ever, and then loses its bytes as well.

    A row without algorithm is a tombstone and never was an image. Its unique name keeps an object that nobody recorded
    from being recorded late.
    """

    object_key = models.CharField(max_length=200, unique=True)
    # The column keeps its old name, because renaming it would break the release that runs beside this one.
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
        """The constraints and indexes of the table."""

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
        # The indexes hold only the rows that a purge looks for, so they stay small however many images there were.
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


class SealedSecret(models.Model):
    """A secret of 32 bytes that the service itself must read again, wrapped by a master key.

    Only `storage/sealed_secrets.py` and the rotation of the master key write it.
    """

    master_key_id = models.CharField(max_length=16)
    wrapped_key = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return f"sealed secret {self.pk}"
