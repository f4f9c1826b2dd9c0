"""Sends the message that a generation waits. It is only a hint: it may be lost or come twice, the row decides."""

import logging

from celery import current_app

from workers import broker

log = logging.getLogger(__name__)

GENERATE_TASK = "workers.tasks.generate"


def send(*, generation_id: int) -> None:
    """Enqueues the generation's id; when the broker is away, the sweep sends it again later."""
    try:
        with broker.asking():
            current_app.send_task(
                GENERATE_TASK,
                kwargs={"generation_id": generation_id},
                queue="gpu",
                ignore_result=True,
                retry=False,
            )
    except broker.Away as error:
        log.debug("could not enqueue generation %s, the sweep will: %s", generation_id, error)
