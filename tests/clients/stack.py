"""A live service for clients: web processes, a worker that makes pictures, and a model whose worker is the test."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path

from billing import audit, keys
from billing.models import Account
from tests import factories, processes, tcp_proxy
from tests.processes import Processes, Server
from workers.lifecycle import generations
from workers.messaging import partial_images, worker_registry
from workers.messaging.partial_images import PartialImage
from workers.messaging.worker_registry import Details
from workers.models import Generation, Status

# A worker makes the pictures of this model at once.
MODEL = "zekron-image-1"
# The generations of this model wait for the test.
HELD_MODEL = "zekron-image-2"
# Names that clients send whatever their user says.
ALIASES = ("gpt-image-2.5-flare", "dall-e-2")
# How long the impatient web process lets a client wait.
SHORT_WAIT_SECONDS = 2
_SOMEBODY = "the test"
_WORKER = "-m celery -A zekron_api worker -P threads -c 4 -Q gpu,chores -n gpu@clients --without-gossip"


@dataclass(frozen=True)
class Customer:
    """An account with a key."""

    account: Account
    server: Server

    @property
    def key(self) -> str:
        """The API key."""
        return self.server.key

    def spent(self) -> Decimal:
        """Return what the account paid in all, in USD, as the service tells it. Nothing may be held or amiss."""
        told = self.server.ask("/v1/balance").json["data"]
        assert list(audit.audit()) == []
        assert not Generation.objects.filter(account=self.account, status__in=["queued", "running"]).exists()
        return Decimal(told["total_spent"])

    def expected_seconds(self, model: str) -> int | None:
        """Return how long the next image of the model is expected to wait, or None if the model has no worker."""
        body = {"model": model, "prompt": "a boat", "size": "256x256"}
        seconds: int | None = self.server.ask("/v1/quote", body).json["data"]["estimated_wait_seconds"]
        return seconds

    def is_waiting(self) -> bool:
        """Return whether a generation of the account waits for a worker."""
        return Generation.objects.filter(account=self.account, status=Status.QUEUED).exists()

    def claim(self) -> Generation:
        """Wait for a generation of the account that the test has to make, and begin with it."""
        processes.wait_until(self.is_waiting)
        row = Generation.objects.filter(account=self.account, status=Status.QUEUED).latest("pk")
        return factories.claim(generation_id=row.pk)


@dataclass(frozen=True)
class Stack:
    """The running service."""

    patient: Processes
    impatient: Processes
    folder: Path
    objects_folder: Path

    @property
    def url(self) -> str:
        """The address of the web process."""
        return self.patient.url

    def customer(self, *, balance_micros: int = 10_000_000) -> Customer:
        """Open an account."""
        account = factories.account(balance_micros=balance_micros)
        _, key = keys.issue(account_id=account.pk)
        return Customer(account, Server(self.url, key))

    def has_logged(self, words: str, *, after: int, web: Processes | None = None) -> bool:
        """Return whether a web process has logged these words after so many bytes."""
        return words in self.read_log(web)[after:]

    def read_log(self, web: Processes | None = None) -> str:
        """Return the log of a web process, by default of the patient one."""
        return ((web or self.patient).folder / "web.log").read_text()


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """Run the service with its objects and logs in the folder."""
    objects, other = folder / "objects", folder / "impatient"
    other.mkdir()
    models = _write_models(folder)
    with ExitStack() as stack:
        patient = stack.enter_context(
            processes.running(
                folder=folder,
                objects_folder=objects,
                others={"gpu": _WORKER.split()},
                MODELS_FILE=str(models),
            )
        )
        impatient = stack.enter_context(
            processes.running(
                folder=other,
                objects_folder=objects,
                MODELS_FILE=str(models),
                SYNC_WAIT_SECONDS=str(SHORT_WAIT_SECONDS),
            )
        )
        for each in (patient, impatient):
            processes.ready(each.url)
        yield Stack(patient, impatient, folder, objects)


def show_worker(*, seconds_per_image: float = 0.01) -> None:
    """Let the service believe that the held model has a worker of this speed."""
    details = Details(models={HELD_MODEL: seconds_per_image}, queues=["held"])
    worker_registry.publish(worker_name=_SOMEBODY, details=details)


def hide_worker(customer: Customer) -> None:
    """Let the service believe that the held model has no worker. It may have read the list of workers a moment ago."""
    worker_registry.remove(worker_name=_SOMEBODY)
    processes.wait_until(lambda: customer.expected_seconds(HELD_MODEL) is None)


def finish(generation: Generation) -> None:
    """Complete a generation that the test has begun."""
    factories.finish(generation, now=None)


def fail(generation: Generation) -> None:
    """Let a generation fail that the test has begun."""
    generations.fail(generation=generation, **factories.ERROR)


def publish_partial(generation: Generation, index: int, content: bytes) -> None:
    """Publish a partial image of a generation that the test has begun."""
    image = PartialImage(index, index + 1, 128, 96, content)
    partial_images.publish(account_id=generation.account_id, generation_id=generation.pk, image=image)


@contextmanager
def proxy_before(stack: Stack) -> Iterator[tcp_proxy.Proxy]:
    """Run a proxy before the web process, which can cut its connections."""
    with tcp_proxy.before(partial(socket.create_connection, ("127.0.0.1", stack.patient.port))) as proxy:
        yield proxy


def cut(proxy: tcp_proxy.Proxy, generation: Generation) -> None:
    """Cut the connection of the client that waits for this generation, and wait until the service knows.

    A client tries again only later.
    """
    proxy.cut()
    proxy.restore()
    lost = Generation.objects.filter(pk=generation.pk, client_lost_at__isnull=False)
    processes.wait_until(lost.exists)


def _write_models(folder: Path) -> Path:
    """Write the models file with the scripted engine, a second model that no process serves, and aliases."""
    file = processes.scripted_models(folder)
    text = (processes.ROOT / "models.toml").read_text()
    # The weights of a model that nobody loads need not exist.
    held = text.replace(MODEL, HELD_MODEL).replace("\nsteps = ", '\nqueue = "held"\nsteps = ')
    aliases = "".join(f'"{alias}" = "{MODEL}"\n' for alias in ALIASES)
    file.write_text(f"{file.read_text()}\n{held}\n[aliases]\n{aliases}")
    return file
