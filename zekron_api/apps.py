"""Django's entry for this package."""

from django.apps import AppConfig


class ZekronApiConfig(AppConfig):
    name = "zekron_api"
