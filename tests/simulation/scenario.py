"""One scenario: a simulator, its actors, their requests, and the checks when it is over."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final

from django.db import connection, connections

from billing import keys, ledger
from billing.grants import Grants
from tests.simulation import database, due_work, environment, expiry, invariants, wishes
from tests.simulation.actors import Actor, Process
from tests.simulation.bodies import Body
from tests.simulation.clients import Client
from tests.simulation.commit_checker import CommitChecker, Limits, open_session
from tests.simulation.faults import Fault
from tests.simulation.machines import Beat, Chores, IdleWorker, Worker
from tests.simulation.message_queue import MessageQueue
from tests.simulation.partials import PartialImages
from tests.simulation.simulator import START, Simulator
from tests.simulation.store import Objects
from tests.simulation.wishes import Asked
from workers.webhooks import endpoints
from zekron_api.http.authentication import Caller

# An audit reads the rows of all scenarios since the last truncation.
RUNS_BETWEEN_TRUNCATIONS: Final = 10
TABLES: Final = (
    "workers_webhookdelivery, workers_webhookendpoint, storage_sealedsecret,"
    " workers_sourceimage, workers_idempotencykey, workers_generation, billing_ledgerentry, billing_reservation,"
    " billing_apikey, billing_account, storage_storedimage"
)
# Three images, five, or more than anybody wishes for.
OPENINGS_MICROS: Final = (80_000, 130_000, 10_000_000)
# Two images, or all that the account can pay.
SPEND_LIMITS_MICROS: Final = (60_000, None, None)
# Of an account's open generations: with one of them a scenario often reaches the limit, with the real one never.
OPEN_LIMITS: Final = (1, 2, 5)
QUEUE_LIMITS: Final = (1, 2, 100)
CANCELLED_LIMITS: Final = (0, 1, 20)
_account_numbers = count(1)


@dataclass(frozen=True)
class Scenario:
    """The outcome of a seed: its course, and what was violated."""

    seed: int
    trace: list[str]
    violations: list[str]
    # How often each fault struck, and each status was reached.
    happened: Counter[str]


class Simulation:
    """Threads with their connections, in which one scenario runs after another. Close it."""

    def __init__(self) -> None:
        self._bodies: list[Body] = []
        self._checker_session = open_session()
        self._run_count = 0

    def run(self, *, seed: int, beset_by: Collection[Fault] = ()) -> Scenario:
        """Run the scenario of this seed, and return its outcome. Without `beset_by` the seed chooses the faults."""
        if self._run_count == 0:
            with connection.cursor() as cursor:
                cursor.execute(f"TRUNCATE {TABLES} CASCADE")
        run = Run(Simulator(seed=seed, beset_by=beset_by), self._body, self._checker_session)
        with environment.played(run):
            run.play()
        # A violation in the tables would be one in the next scenario as well.
        self._run_count = 0 if run.simulator.violations else (self._run_count + 1) % RUNS_BETWEEN_TRUNCATIONS
        trace = [str(line) for line in run.simulator.trace]
        return Scenario(seed, trace, run.simulator.violations, run.simulator.happened)

    def close(self) -> None:
        """End the threads and close every connection."""
        for body in self._bodies:
            body.close()
        self._checker_session.close()

    def _body(self, index: int) -> Body:
        while len(self._bodies) <= index:
            name = f"simulated {len(self._bodies)}"
            self._bodies.append(Body(name, before=database.attach, after=connections.close_all))
        return self._bodies[index]


class Run:
    """The parts of one scenario."""

    def __init__(self, simulator: Simulator, body: Callable[[int], Body], session: Any) -> None:
        self.simulator = simulator
        self.objects, self.message_queue = Objects(), MessageQueue()
        self.simulator.when_wiped = self.message_queue.wipe
        self._body = body
        dice = self.simulator.dice
        self._opening = {_account(micros): micros for micros in dice.choices(OPENINGS_MICROS, k=2)}
        self._account_ids = list(self._opening)
        self.partial_images = PartialImages()
        self.limits = Limits(
            dice.choice(OPEN_LIMITS), dice.choice(QUEUE_LIMITS), dice.choice(CANCELLED_LIMITS)
        )
        asked = Asked(callers={account_id: _key(dice, account_id) for account_id in self._account_ids})
        self.commit_checker = CommitChecker(self.simulator, self.limits, asked, self._account_ids, session)
        self.simulator.commit_checker = self.commit_checker.look
        self._clients = [
            Client(wishes=drawn, asked=asked, rows=self.commit_checker.rows)
            for drawn in wishes.draw(dice, self._account_ids)
        ]
        self._chores = [Chores(self._account_ids) for _ in range(dice.randint(1, 2))]
        self._cast()

    @property
    def now(self) -> Any:
        """Return the simulator's time."""
        return self.simulator.now

    @property
    def dice(self) -> Any:
        """Return the simulator's dice."""
        return self.simulator.dice

    def before_delete(self, object_key: str) -> None:
        """Check what is about to be deleted."""
        self.commit_checker.before_delete(object_key)

    def play(self) -> None:
        """Run from the first step to the last check."""
        self.simulator.run(is_quiet=self._is_quiet, find_late=self._find_late)
        if not self.simulator.violations:
            try:
                self._look_back()
            except Exception as error:  # noqa: BLE001 (what a last purge raises is as bad as what it leaves)
                self.simulator.violate(f"after the end: {error!r}", error)

    def _look_back(self) -> None:
        self._report(invariants.of_the_quiet(self.commit_checker, self._clients, self._paid_in()))
        self._report(expiry.of_the_end(self.simulator, self.objects))

    def _report(self, problems: Iterator[str]) -> None:
        for problem in problems:
            self.simulator.violate(problem)

    def _paid_in(self) -> dict[int, int]:
        topped_up = Counter(self._opening)
        for chores in self._chores:
            topped_up.update(chores.topped_up)
        return topped_up

    def _find_late(self, calm_since: datetime) -> Iterator[str]:
        return self.commit_checker.find_late(
            calm_since=calm_since,
            sent_at=self.message_queue.sent_at,
            has_idle_worker=any(isinstance(actor.role, IdleWorker) for actor in self.simulator.actors),
        )

    def _may_be_swept(self) -> bool:
        rows, sent_at = self.commit_checker.rows.values(), self.message_queue.sent_at
        return due_work.may_be_swept(rows, now=self.now, sent_at=sent_at)

    def _may_be_rescued(self) -> bool:
        return due_work.may_be_rescued(self.commit_checker.rows.values(), now=self.now)

    def _is_quiet(self) -> bool:
        clients_left = any(
            isinstance(actor.role, Client) and not actor.is_done for actor in self.simulator.actors
        )
        return not (
            clients_left or self.commit_checker.has_open or any(chores.form for chores in self._chores)
        )

    def _cast(self) -> None:
        dice = self.simulator.dice
        for number, client in enumerate(self._clients, 1):
            self._actor(f"client {number}", self._process(f"web {number}"), client, client.act)
        for number in range(1, dice.randint(2, 3) + 1):
            worker, process = Worker(self.message_queue), self._process(f"worker {number}")
            process.prepare = worker.prepare
            for thread in "ab"[: dice.randint(1, 2)]:
                self._actor(f"worker {number}{thread}", process, worker, worker.work)
            self._actor(f"heart {number}", process, worker, worker.beat)
        for number, chores in enumerate(self._chores, 1):
            # No image may be lost by a sweep or a removal of orphans on a host whose clock is hours off.
            process = self._process(f"chores {number}", (-7200, 7200, 7200, 7200))
            self._actor(f"chores {number}", process, chores, chores.work)
        beat = Beat(may_be_swept=self._may_be_swept)
        self._actor("beat", Process("beat"), beat, beat.work)
        if dice.random() < 0.5:
            # Where no worker is idle, the sweep alone rescues.
            idle = IdleWorker(may_be_rescued=self._may_be_rescued)
            self._actor("idle", Process("idle"), idle, idle.rescue)

    def _process(self, name: str, far_seconds: tuple[int, ...] = ()) -> Process:
        ahead_seconds = self.simulator.dice.choice((0, -600, 600, *far_seconds))
        return Process(name, clock_ahead=timedelta(seconds=ahead_seconds))

    def _actor(self, name: str, process: Process, role: Any, script: Callable[[Actor], None]) -> None:
        actor = Actor(self.simulator, name, process, script, self._body(len(self.simulator.actors)))
        actor.role = role
        self.simulator.actors.append(actor)


@contextmanager
def simulation() -> Iterator[Simulation]:
    """Open a simulation over the database that Django is connected to, which it empties."""
    with environment.simulated():
        opened = Simulation()
        try:
            yield opened
        finally:
            opened.close()


def _key(dice: Any, account_id: int) -> Caller:
    """Issue a key, which often may spend less or have less open than its account."""
    grants = Grants(
        spend_limit_micros=dice.choice(SPEND_LIMITS_MICROS),
        spend_period="total",
        open_limit=dice.choice((None, 1)),
    )
    key, _ = keys.issue(account_id=account_id, grants=grants)
    return Caller(key.account, grants, key_id=key.pk)


def _account(balance_micros: int) -> int:
    number = next(_account_numbers)
    account = ledger.open_account(
        name=f"simulated {number}", opening_micros=balance_micros, actor="simulation"
    )
    # It gets an event of each end.
    endpoints.create(account_id=account.pk, url="https://hooks.example.com/", now=START)
    return account.pk
