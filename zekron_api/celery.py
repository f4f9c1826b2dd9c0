"""The Celery application: `celery -A zekron_api worker`."""

import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zekron_api.settings")

app = Celery("zekron_api")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_after_configure.connect
def keep_no_receipts(sender: Celery, **_: object) -> None:
    """Redis is not told which message is with which worker: that would be half of all that it is told. What a worker
    that dies had of them is lost, and the sweep and beat send it again."""
    sender.conf.broker_transport_options["ack_emulation"] = False


@setup_logging.connect
def leave_logging_alone(**_: object) -> None:
    """Logs are set up by Django's settings, in workers as everywhere; without a receiver Celery would change them."""
