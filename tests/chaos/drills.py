"""Recovery times, measured in the calm after the faults, one fault at a time on the same processes."""

import json
import random
import signal
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from psycopg.rows import namedtuple_row

from tests.chaos import engine
from tests.chaos.client_log import Order, Owner
from tests.chaos.clients import Clients
from tests.chaos.cluster import GPUS, Cluster
from tests.chaos.receiver import Receiver

T = TypeVar("T")
POLL_SECONDS = 0.1
# A drill that takes longer than this has failed.
LIMIT_SECONDS = 180
ORDERS_A_DRILL = 4
# So many that each worker has some, and so many that most messages still wait in Redis.
ORDERS_FOR_WORKERS = 9
ORDERS_WITHOUT_WORKERS = 10
# The key under which the service knows its workers.
WORKERS = "zekron:workers:seen"


@dataclass
class Recovery:
    """A fault, the seconds that recovery from it may take, and those that it took."""

    name: str
    limit_seconds: float
    seconds: list[float] = field(default_factory=list)


class Drills:
    """Runs each drill some times and keeps what was measured in `recoveries`."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        clients: Clients,
        owners: Sequence[Owner],
        receiver: Receiver,
        chance: random.Random,
    ) -> None:
        self.recoveries = (
            Recovery("chores killed with a claimed event → it arrives", 75),
            Recovery("worker killed → its job runs again", 40),
            Recovery("message lost (Redis flushed) → claimed", 20),
            Recovery("Redis killed, back empty → claimed", 20),
            Recovery("PostgreSQL is back after a crash → first image", 15),
        )
        self._cluster = cluster
        self._clients = clients
        self._owners = owners
        self._receiver = receiver
        self._chance = chance
        self._threads: list[threading.Thread] = []

    def run(self, *, rounds: int) -> None:
        """All drills, one after the other, each in peace."""
        drills = (
            self._kill_chores,
            self._kill_a_worker,
            self._flush_redis,
            self._kill_redis,
            self._crash_postgres,
        )
        for recovery, drill in zip(self.recoveries, drills, strict=True):
            for _ in range(rounds):
                recovery.seconds.extend(drill())
                for thread in self._threads:
                    thread.join()

    def _kill_chores(self) -> list[float]:
        """Let chores die with a lease on events that it has not sent, and see when they arrive."""
        supervisor = self._cluster.supervisor
        pid = supervisor.pid("chores")
        supervisor.arm("chores", FAILPOINTS="webhook_claimed=kill")
        supervisor.send("chores", signal.SIGKILL)
        doomed = supervisor.wait_for("chores", other_than=pid)
        self._order("its event is claimed by a dying process")
        _until(lambda: supervisor.pid("chores") != doomed)
        killed_at = time.monotonic()
        claimed = "SELECT generation_id FROM workers_webhookdelivery WHERE lease_token IS NOT NULL"
        with self._cluster.database() as database:
            claimed_ids = {row[0] for row in database.execute(claimed).fetchall()}
        if not claimed_ids:
            raise TimeoutError("chores died before it had claimed an event")

        def arrivals() -> dict[int, float]:
            after = [each for each in self._receiver.attempts() if each.at > killed_at]
            return {each.generation_id: each.at for each in reversed(after)}

        _until(lambda: claimed_ids <= arrivals().keys())
        return [at - killed_at for generation_id, at in arrivals().items() if generation_id in claimed_ids]

    def _kill_a_worker(self) -> list[float]:
        prompts = [order.prompt for order in self._order(engine.LONG, count=ORDERS_FOR_WORKERS)]
        pid = _until(lambda: [each["pid"] for each in self._diary() if each["prompt"] in prompts])[0]
        killed = next(name for name in GPUS if self._cluster.supervisor.pid(name) == pid)
        self._cluster.supervisor.send(killed, signal.SIGKILL)
        killed_at = time.monotonic()
        again_at: dict[int, float] = {}

        def all_ended() -> bool:
            rows = self._rows(prompts)
            for row in rows:
                if row.attempt_count > 1:
                    again_at.setdefault(row.id, time.monotonic())
            return all(row.status not in {"queued", "running"} for row in rows)

        _until(all_ended)
        return [at - killed_at for at in again_at.values()]

    def _flush_redis(self) -> list[float]:
        def flush() -> None:
            with self._cluster.redis() as client:
                client.flushall()

        return self._lose_messages(flush)

    def _kill_redis(self) -> list[float]:
        def kill() -> None:
            pid = self._cluster.supervisor.send("redis", signal.SIGKILL)
            self._cluster.supervisor.wait_for("redis", other_than=pid)

        return self._lose_messages(kill)

    def _crash_postgres(self) -> list[float]:
        self._cluster.crash_database()
        orders = self._order("after the crash")
        time.sleep(2)
        self._cluster.start_database()
        back_at = time.monotonic()
        came = _until(lambda: [order.completed.at for order in orders if order.completed])
        return [min(came) - back_at]

    def _lose_messages(self, lose: Callable[[], None]) -> list[float]:
        """Orders while all workers stand still for a moment, loses what was sent, and sees when each is claimed."""
        # A drill may just have emptied Redis, and without a known worker every request is refused.
        _until(self._are_workers_known)
        self._tell_workers(signal.SIGSTOP)
        try:
            orders = self._order("its message is lost", count=ORDERS_WITHOUT_WORKERS)
            prompts = [order.prompt for order in orders]
            _until(lambda: len(self._rows(prompts)) == len(prompts))
            # What a worker waited for is on its way to it already.
            lost_ids = self._ids_in_messages()
            lost_at = time.monotonic()
            lose()
        finally:
            self._tell_workers(signal.SIGCONT)
        claimed_at: dict[int, float] = {}

        def all_claimed() -> bool:
            for row in self._rows(prompts):
                if row.status != "queued":
                    claimed_at.setdefault(row.id, time.monotonic())
            return len(claimed_at) == len(prompts)

        _until(all_claimed)
        return [claimed_at[generation_id] - lost_at for generation_id in lost_ids & claimed_at.keys()]

    def _are_workers_known(self) -> bool:
        with self._cluster.redis() as client:
            return bool(client.zcard(WORKERS) >= len(GPUS))

    def _ids_in_messages(self) -> set[int]:
        with self._cluster.redis() as client:
            messages = [json.loads(message) for message in client.lrange("gpu", 0, -1)]
        return {json.loads(b64decode(message["body"]))[1]["generation_id"] for message in messages}

    def _order(self, prompt: str, *, count: int = ORDERS_A_DRILL) -> list[Order]:
        placed = [
            self._clients.place(owner=owner, prompt=prompt, chance=random.Random(self._chance.random()))
            for owner in self._chance.sample(self._owners, count)
        ]
        self._threads = [thread for _, thread in placed]
        return [order for order, _ in placed]

    def _tell_workers(self, number: signal.Signals) -> None:
        for name in GPUS:
            self._cluster.supervisor.send(name, number)

    def _rows(self, prompts: list[str]) -> list[Any]:
        statement = "SELECT id, status, attempt_count FROM workers_generation WHERE prompt = ANY(%s)"
        with self._cluster.database() as database:
            return database.cursor(row_factory=namedtuple_row).execute(statement, [prompts]).fetchall()

    def _diary(self) -> list[dict[str, Any]]:
        lines = (self._cluster.engine_folder / engine.DIARY).read_text().splitlines(keepends=True)
        # The last one may be half written.
        return [json.loads(line) for line in lines if line.endswith("\n")]


def _until(look: Callable[[], T]) -> T:
    """Wait until `look` sees anything, and return it."""
    give_up_at = time.monotonic() + LIMIT_SECONDS
    while not (seen := look()):
        if time.monotonic() > give_up_at:
            raise TimeoutError("a drill saw nothing of what it waited for")
        time.sleep(POLL_SECONDS)
    return seen
