"""The Celery application: `celery -A zekron_api worker`."""

import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zekron_api.settings")

app = Celery("zekron_api")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def leave_logging_alone(**_: object) -> None:
    """Logs are set up by Django's settings, in workers as everywhere; without a receiver Celery would change them."""
