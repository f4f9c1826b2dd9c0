"""The Celery application, for `celery -A zekron_api worker`."""

import os
from collections.abc import Callable

from celery import Celery
from celery.signals import beat_init, celeryd_init, setup_logging, task_prerun
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


@celeryd_init.connect
def observe_worker(**_: object) -> None:
    """Serve the metrics of a worker, also while it loads its models, and start what it sends to others."""
    from workers import liveness  # noqa: PLC0415 (Celery has set Django up by now)

    _observe(process="worker", is_ready=liveness.is_ready)


@beat_init.connect
def observe_beat(**_: object) -> None:
    """Serve the metrics of beat, whose one thread ends the process when it ends."""
    _observe(process="beat", is_ready=lambda: True)


def _observe(*, process: str, is_ready: Callable[[], bool]) -> None:
    from zekron_api.ops import exporters, metrics_server  # noqa: PLC0415

    exporters.start(process=process)
    metrics_server.start(is_ready=is_ready)
