"""Django's entry for this package."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"
