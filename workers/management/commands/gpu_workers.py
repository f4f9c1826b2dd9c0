"""`python manage.py gpu_workers`: one worker for each GPU."""

import signal
from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workers.catalogue import DEFAULT_QUEUE
from workers.gpu_worker import crew

# As many attempts as the Procfile's `gpu` has at once: what is claimed waits in the process for its batch.
CONCURRENCY = 8


class Command(BaseCommand):
    """Starts the workers, starts again what ends, and ends with all of them at SIGTERM or Ctrl-C."""

    help = "Runs one worker process for each GPU, or each device that is named."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where, and for which models."""
        parser.add_argument("--devices", help="with commas, such as cuda:0,cuda:2; all GPUs without it")
        parser.add_argument("--queues", default=DEFAULT_QUEUE, help="the models', with commas")
        parser.add_argument("--concurrency", type=int, default=CONCURRENCY, help="attempts at once, of each")

    def handle(
        self, *_args: Any, devices: str | None, queues: str, concurrency: int, **_options: Any
    ) -> None:
        """Returns when all have ended."""
        named = [name.strip() for name in devices.split(",")] if devices else crew.visible_devices()
        if not all(named) or concurrency < 1:
            raise CommandError("--devices are names with commas between them; --concurrency is 1 or more")
        command = partial(crew.command, queues=queues, concurrency=concurrency)
        workers = crew.Crew(named, command_for=command)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: workers.stop())
        try:
            workers.run()
        except crew.WorkerRefused:
            raise CommandError("a worker could not start; its own line above says why") from None
