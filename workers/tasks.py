"""What Celery runs: a generation by its id, and the sweep. And what a worker process does as it starts and stops."""

import logging
import threading
from functools import partial
from typing import Any

from celery import shared_task
from celery.signals import celeryd_after_setup, worker_shutdown, worker_shutting_down
from django.conf import settings

from workers.audit import scheduled
from workers.catalogue import RESERVED_QUEUES, CatalogueError, catalogue
from workers.engine.interface import EngineError
from workers.gpu_worker import attempt, process
from workers.lifecycle import recovery
from workers.messaging import enqueue

log = logging.getLogger(__name__)


@shared_task(name=enqueue.GENERATE_TASK)
def generate(*, generation_id: int) -> None:
    """Makes the picture whose turn it is: there is one message for each, and which is whose does not matter. Run twice,
    the second run makes another's, or finds nothing to claim.
    """
    attempt.run_next(context=process.current().context)


@shared_task(name="workers.tasks.sweep")
def sweep_stuck() -> None:
    """Moves on what is stuck. Run twice, or by many at once, each row still moves once."""
    swept = recovery.sweep()
    if any(swept):
        log.info("sweep: %s", swept)


@shared_task
def audit_ledger() -> None:
    """Audits money and generations, and logs what is off. Run twice, it reads and says all twice."""
    scheduled.run()


@celeryd_after_setup.connect
def open_before_work(sender: str, instance: Any, **_: object) -> None:
    """A worker that serves queues of models loads those models before it takes its first message."""
    queues = set(instance.app.amqp.queues.consume_from) - set(RESERVED_QUEUES)
    try:
        # Chores send messages for models too, and must know where to.
        catalogue()
        if queues:
            process.start(worker_name=sender, capacity=instance.concurrency, queues=queues)
    except (CatalogueError, EngineError) as error:
        # Celery would only log the exception and go on to take work that this process cannot do.
        raise SystemExit(f"zekron: {error}") from error


@worker_shutting_down.connect
def stop_taking_work(**_: object) -> None:
    """A worker that is told to stop finishes what its device is at, within Celery's own limit for a shutdown."""
    within_seconds = settings.CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT
    # This is a signal's handler, and must not wait for locks that its thread may hold.
    threading.Thread(target=partial(process.stop, within_seconds=within_seconds)).start()


@worker_shutdown.connect
def close_after_work(**_: object) -> None:
    """A worker that stops ends its threads when its attempts have ended."""
    process.close()
