"""Celery tasks (generation, sweep, purge, audit, usage) and signal handlers for the start and stop of a process."""

import logging
import os
import sys
import threading
from functools import partial
from typing import Any, NoReturn

from celery import shared_task
from celery.signals import celeryd_after_setup, worker_shutdown, worker_shutting_down
from django.conf import settings

from storage.postgresql import time_limits
from storage.postgresql.availability import UNAVAILABLE
from workers import alerts, liveness
from workers.audit import scheduled
from workers.catalogue import RESERVED_QUEUES, CatalogueError, catalogue
from workers.engine.interface import EngineError, Misconfigured
from workers.error_redaction import summarise
from workers.gpu_worker import attempt, process
from workers.lifecycle import recovery
from workers.messaging import enqueue
from workers.usage import roll_up
from workers.webhooks import deliveries

log = logging.getLogger(__name__)


@shared_task(name=enqueue.GENERATE_TASK, throws=UNAVAILABLE)
def generate(*, generation_id: int) -> None:
    """Make the picture of the generation whose turn it is, which need not be the one with this id.

    Each generation has one message. A second run for the same message makes another generation's picture, or finds
    nothing to claim.
    """
    attempt.run_next(context=process.get_current().context)


@shared_task(name="workers.tasks.sweep", throws=UNAVAILABLE)
def sweep_stuck() -> None:
    """Recover abandoned generations. Each row moves once, even if the task runs twice or at the same time."""
    swept = recovery.sweep()
    if any(swept):
        log.info("sweep: %s", swept)


@shared_task(throws=UNAVAILABLE)
def purge_webhooks() -> None:
    """Delete old deliveries of webhooks. May run twice or at once: the second run finds less to do, or nothing."""
    deliveries.purge()


@shared_task(throws=UNAVAILABLE)
def audit_ledger() -> None:
    """Audit money and generations, and log each discrepancy. A second run reads and logs everything again."""
    scheduled.run()


@shared_task(throws=UNAVAILABLE)
def tell_alerts() -> None:
    """Tell accounts of low balances, keys near their limits and disabled webhooks. May run twice or at once."""
    if count := alerts.tell_all():
        log.info("alerts: %d told", count)


@shared_task(throws=UNAVAILABLE)
def roll_up_usage() -> None:
    """Close the complete hours of the usage. Each is counted once, even if the task runs twice or at the same time."""
    with time_limits.long_statements(seconds=roll_up.SECONDS_AN_HOUR):
        closed_count = roll_up.roll_up()
    if closed_count:
        log.info("usage: rolled up %d hours", closed_count)


@celeryd_after_setup.connect
def open_before_work(sender: str, instance: Any, **_: object) -> None:
    """Load the models of this worker's queues before it takes its first message."""
    queues = set(instance.app.amqp.queues.consume_from) - set(RESERVED_QUEUES)
    try:
        # The worker for chores sends hints too, and needs the catalogue to find the queue of a model.
        catalogue()
        if queues:
            process.start(worker_name=sender, capacity=instance.concurrency, queues=queues)
        liveness.note_ready()
    except (CatalogueError, Misconfigured) as error:
        # Its supervisor should not start it again, because all others would fail too.
        _refuse_to_start(str(error), status=os.EX_CONFIG)
    except EngineError as error:
        # Its supervisor should try again later: the cause may pass, or be this device.
        _refuse_to_start(str(error), status=os.EX_TEMPFAIL)
    except Exception as error:
        log.exception("zekron: the models could not be loaded")
        _refuse_to_start(f"the models could not be loaded: {summarise(error)}", status=os.EX_TEMPFAIL)


def _refuse_to_start(reason: str, *, status: int) -> NoReturn:
    # Celery would only log the exception, and then take messages that this process cannot handle.
    sys.stderr.write(f"zekron: {reason}\n")
    raise SystemExit(status)


@worker_shutting_down.connect
def stop_taking_work(**_: object) -> None:
    """Finish the running batch and take no more work, within Celery's own limit for a shutdown."""
    within_seconds = settings.CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT
    # A signal handler must not wait for locks that its own thread may hold.
    threading.Thread(target=partial(process.stop, within_seconds=within_seconds)).start()


@worker_shutdown.connect
def close_after_work(**_: object) -> None:
    """End the threads of the worker after its attempts have ended."""
    process.close()
