"""Django's entry for this package."""

from django.apps import AppConfig


class WorkersConfig(AppConfig):
    name = "workers"
