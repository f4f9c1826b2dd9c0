"""The tasks that know the whole service: the delivery of webhooks, and the end of expired sessions.

The process that does the chores sends what the API says of a generation.
"""

from typing import Any

from celery import shared_task
from celery.signals import celeryd_after_setup, worker_shutdown
from django.conf import settings

from workers.models import Generation
from workers.webhooks import outbox
from workers.webhooks.deliverer import Deliverer

_deliverer: Deliverer | None = None


@shared_task(name=outbox.DELIVER_TASK)
def deliver_webhooks() -> None:
    """Wake the deliverer of this process. It may run any number of times: the table says what is to be sent."""
    if _deliverer is not None:
        _deliverer.wake()


@shared_task(name="zekron_api.tasks.clear_sessions")
def clear_sessions() -> None:
    """Delete sessions of people that have expired. It may run any number of times."""
    from zekron_api.people import sessions  # noqa: PLC0415 (its models need all apps)

    sessions.clear_expired()


@celeryd_after_setup.connect
def start_delivering(sender: str, instance: Any, **_: object) -> None:
    """Start the deliverer of a process that takes the chores."""
    global _deliverer  # noqa: PLW0603 (a process has one)
    if settings.CELERY_TASK_DEFAULT_QUEUE in instance.app.amqp.queues.consume_from:
        _deliverer = Deliverer(describe=_describe)
        _deliverer.start()


@worker_shutdown.connect
def stop_delivering(**_: object) -> None:
    """End the deliverer, after its attempts."""
    global _deliverer  # noqa: PLW0603
    if _deliverer is not None:
        _deliverer.close()
        _deliverer = None


def _describe(generation: Generation, with_prompt: bool) -> dict[str, object]:
    """Return the data of an event. Celery's other processes must not load the endpoints for it."""
    from zekron_api.endpoints import generation_object  # noqa: PLC0415

    return generation_object.webhook_data(generation, with_prompt)
