"""The app configuration of this package for Django."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """The Django app `billing`."""

    name = "billing"
