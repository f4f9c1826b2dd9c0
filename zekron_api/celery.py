"""The Celery application: `celery -A zekron_api worker`."""

import os

from celery import Celery
from celery.signals import setup_logging, task_prerun
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zekron_api.settings")

app = Celery("zekron_api")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def leave_logging_alone(**_: object) -> None:
    """Logs are set up by Django's settings, in workers as everywhere; without a receiver Celery would change them."""


@task_prerun.connect
def look_at_connections(**_: object) -> None:
    """Tasks find a connection to the database that works, as requests do, and a new one only where it does not."""
    close_old_connections()
