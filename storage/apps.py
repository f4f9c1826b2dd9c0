"""The app configuration of this package for Django."""

from django.apps import AppConfig
from django.db import connection
from django.db.models.signals import post_migrate


class StorageConfig(AppConfig):
    """The Django app `storage`."""

    name = "storage"

    def ready(self) -> None:
        """Have each `migrate` give the role its time limits where PgBouncer stands before PostgreSQL."""
        post_migrate.connect(_limit_pooled_role, sender=self)


def _limit_pooled_role(**_: object) -> None:
    # Imported here, because it needs the apps to be there.
    from storage.postgresql import pooling  # noqa: PLC0415

    if pooling.is_pooled(connection.settings_dict):
        pooling.limit_role()
