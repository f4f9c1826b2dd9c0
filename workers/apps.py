"""Django configuration of this package."""

from django.apps import AppConfig


class WorkersConfig(AppConfig):
    """The app `workers`, whose label is part of its tables' names."""

    name = "workers"
