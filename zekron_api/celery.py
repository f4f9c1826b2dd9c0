"""The Celery application, for `celery -A zekron_api worker`."""

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
    """Do nothing, so that Django's settings configure logs in workers too. Without a receiver Celery would do it."""


@task_prerun.connect
def check_connections(**_: object) -> None:
    """Have Django check database connections before a task, as it does before a request, and replace broken ones."""
    close_old_connections()
