"""Sends the message that a generation waits. It is only a hint: it may be lost or come twice, the row decides."""

import logging

from django.db import DatabaseError

from workers.catalogue import DEFAULT_QUEUE, catalogue
from workers.messaging import messages, redis_client
from workers.models import Generation

log = logging.getLogger(__name__)

GENERATE_TASK = "workers.tasks.generate"


def send(*, generation_id: int) -> None:
    """Enqueues the generation's id for the workers that have its model; when the broker is away, the sweep sends it
    again later.
    """
    try:
        queue = _queue_of(generation_id)
        message = messages.message(task=GENERATE_TASK, values={"generation_id": generation_id}, queue=queue)
        with redis_client.connection_or_unavailable() as connection:
            connection.lpush(queue, message)
    except (redis_client.RedisUnavailable, DatabaseError) as error:
        log.debug("could not enqueue generation %s, the sweep will: %s", generation_id, error)


def _queue_of(generation_id: int) -> str:
    queues = {name: model.queue for name, model in catalogue().items()}
    if len(set(queues.values())) == 1:
        return next(iter(queues.values()))
    name = Generation.objects.filter(pk=generation_id).values_list("model", flat=True).first()
    return queues.get(name or "", DEFAULT_QUEUE)
