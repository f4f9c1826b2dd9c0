"""The configuration of this Django app."""

from django.apps import AppConfig


class ZekronApiConfig(AppConfig):
    """The app that brings the templates and static files of the reference page."""

    name = "zekron_api"
