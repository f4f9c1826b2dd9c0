"""The configuration of this Django app."""

from django.apps import AppConfig

# Django's start creates the Celery app, which then sends the tasks of every process. The package itself does not, so
# that the programs of `zekron_api.local` start without Celery.
from zekron_api.celery import app as celery_app

__all__ = ["ZekronApiConfig", "celery_app"]


class ZekronApiConfig(AppConfig):
    """The app that brings the templates and static files of the reference page."""

    name = "zekron_api"
