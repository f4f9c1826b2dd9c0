"""The HTTP service: settings, routes, endpoints, errors. It knows not how money moves or images are made."""

from zekron_api.celery import app as celery_app

__all__ = ["celery_app"]
