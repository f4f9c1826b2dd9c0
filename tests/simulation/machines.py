"""Workers with their heartbeats, and the chores: sweeps, purges and staff that top an account up."""

import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial
from typing import Any, Final

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections
from django.utils import timezone

from billing import ledger
from storage import images, orphans
from storage.failpoints import FailpointReached
from tests.simulation import painting, partials
from tests.simulation.actors import Actor
from tests.simulation.message_queue import MessageQueue
from tests.simulation.store import StoreFailed
from workers.gpu_worker import attempt
from workers.gpu_worker.attempt import AttemptContext
from workers.gpu_worker.heartbeat import INTERVAL_SECONDS, Heartbeat
from workers.gpu_worker.poller import CLAIM_SECONDS, PAUSE_SECONDS, SILENCE_SECONDS, DatabaseContact
from workers.lifecycle import recovery
from workers.tasks import sweep_stuck
from zekron_api.celery import app

# What a task may raise: Celery logs it and goes on. That a constraint refused something is no such accident.
FAILURES: Final = (OperationalError, InterfaceError, FailpointReached, StoreFailed)
TOP_UP_MICROS: Final = 5_000_000


class Worker:
    """A worker process: threads that take messages, or claim from the table when there are none, and a heartbeat."""

    def __init__(self, message_queue: MessageQueue) -> None:
        self._message_queue = message_queue
        self.prepare()

    def prepare(self) -> None:
        """Begin as a new process, which knows no lease."""
        self.heartbeat = Heartbeat(worker_name="a worker")

    def work(self, actor: Actor) -> None:
        """One attempt after another."""
        simulator = actor.simulator
        while not simulator.is_over:
            generation_id = self._message_queue.take(now=simulator.now)
            if generation_id is not None:
                _try(actor, partial(self._attempt, actor, generation_id))
            elif simulator.dice.random() < 0.06:
                _try(actor, partial(self._claim_from_the_table, actor))
            elif simulator.dice.random() < 0.03:
                _try(actor, _take_back)
            actor.sleep(simulator.dice.randint(0, 8))

    def beat(self, actor: Actor) -> None:
        """Renews the leases of its process."""
        while not actor.simulator.is_over:
            close_old_connections()
            self.heartbeat.beat()
            actor.sleep(INTERVAL_SECONDS)

    def _attempt(self, actor: Actor, generation_id: int) -> None:
        actor.simulator.note(actor, f"has a message for {actor.simulator.name_of(generation_id)}")
        attempt.run_next(context=self._context(actor))

    def _claim_from_the_table(self, actor: Actor) -> None:
        attempt.run_next(context=self._context(actor))

    def _context(self, actor: Actor) -> AttemptContext:
        return AttemptContext(
            submit_order=lambda _, order, _on_step: painting.submit_order(actor, order),
            heartbeat=self.heartbeat,
            follow_previews=partials.follow,
        )


class Chores:
    """A process that does what beat and staff ask for; several do the same at once."""

    def __init__(self, account_ids: list[int]) -> None:
        self._account_ids = account_ids
        # What staff know to have been moved, by account; and the form on which they will click again.
        self.topped_up: dict[int, int] = dict.fromkeys(account_ids, 0)
        self.form: tuple[int, uuid.UUID] | None = None

    def work(self, actor: Actor) -> None:
        """One chore after another. Once nothing goes wrong, the sweeps follow the timetable of beat."""
        while not actor.simulator.is_over:
            chores = (
                *(() if actor.simulator.calm_since else (recovery.sweep, recovery.sweep)),
                images.purge,
                remove_orphans,
                remove_orphans,
                partial(self._top_up, actor),
            )
            _try(actor, actor.simulator.dice.choice(chores))
            actor.sleep(actor.simulator.dice.randint(4, 25))

    def _top_up(self, actor: Actor) -> None:
        """Send a form again until its answer is known, also after the web process was killed."""
        if self.form is None and (actor.simulator.calm_since or actor.simulator.dice.random() < 0.7):
            return
        self.form = self.form or (actor.simulator.dice.choice(self._account_ids), uuid.uuid4())
        account_id, request_id = self.form
        while not self._is_moved(account_id, request_id):
            actor.sleep(1)
        self.topped_up[account_id] += TOP_UP_MICROS
        self.form = None

    def _is_moved(self, account_id: int, request_id: uuid.UUID) -> bool:
        try:
            close_old_connections()
            ledger.top_up(
                account_id=account_id,
                amount_micros=TOP_UP_MICROS,
                actor="staff",
                reason="simulated",
                request_id=request_id,
            )
        except ledger.MovedBefore:
            return True
        except (OperationalError, InterfaceError):
            return False
        return True


class Beat:
    """Celery beat and the worker for chores, which follow the project's own timetable once nothing goes wrong.

    Until then the chores come at random moments, from processes that may die.
    """

    def __init__(self, *, may_be_swept: Callable[[], bool]) -> None:
        """`may_be_swept` returns whether a sweep could find anything."""
        self._may_be_swept = may_be_swept

    def work(self, actor: Actor) -> None:
        """Run each task at its interval."""
        _wait_for_calm(actor)
        tasks = _timetable()
        due_at = dict.fromkeys(tasks, actor.simulator.now)
        while not actor.simulator.is_over:
            for task in [task for task, at in due_at.items() if at <= actor.simulator.now]:
                due_at[task] += tasks[task]
                if task.name != sweep_stuck.name or self._may_be_swept():
                    _try(actor, task)
            actor.sleep(max((min(due_at.values()) - actor.simulator.now).total_seconds(), 0.0))


class IdleWorker:
    """A worker without work, which looks for the work of silent workers once nothing goes wrong."""

    def __init__(self, *, may_be_rescued: Callable[[], bool]) -> None:
        """`may_be_rescued` returns whether it could find any."""
        self._may_be_rescued = may_be_rescued

    def rescue(self, actor: Actor) -> None:
        """Do what the idle poller does, at its interval."""
        _wait_for_calm(actor)
        contact = DatabaseContact(pause_seconds=PAUSE_SECONDS, clock=time.monotonic)
        while not actor.simulator.is_over:
            if contact.record_answer() >= SILENCE_SECONDS and self._may_be_rescued():
                _try(actor, _take_back)
            actor.sleep(CLAIM_SECONDS)


@cache
def _timetable() -> dict[Any, timedelta]:
    """Return each task of beat with its interval. To register the tasks, Celery checks every model."""
    app.loader.import_default_modules()
    return {
        app.tasks[str(entry["task"])]: entry["schedule"]
        for entry in settings.CELERY_BEAT_SCHEDULE.values()
        if isinstance(entry["schedule"], timedelta)
    }


def _wait_for_calm(actor: Actor) -> None:
    while actor.simulator.calm_since is None and not actor.simulator.is_over:
        actor.sleep(1)


def _take_back() -> None:
    """Do what an idle worker does, here also when it has only just reached the database again."""
    recovery.rescue(limit=recovery.MAX_ROWS_PER_SWEEP, silence_seconds=SILENCE_SECONDS)


def remove_orphans() -> int:
    """Do what the task does, by the clock of its host."""
    return orphans.remove(now=timezone.now())


def _try(actor: Actor, work: Callable[[], object]) -> None:
    try:
        close_old_connections()
        work()
    except FAILURES as failure:
        actor.simulator.note(actor, f"goes on after {type(failure).__name__}")
