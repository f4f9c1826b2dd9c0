"""Django's entry for this package."""

from django.apps import AppConfig


class StorageConfig(AppConfig):
    name = "storage"
