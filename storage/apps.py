"""The app configuration of this package for Django."""

from django.apps import AppConfig


class StorageConfig(AppConfig):
    """The Django app `storage`."""

    name = "storage"
