"""Faults of the three servers: Redis, PostgreSQL and the object store are killed, emptied, frozen, full and away."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import redis
from kombu.exceptions import OperationalError

from tests.chaos.cluster import NETWORK
from tests.chaos.faults import Rig, TooEarly, kind

BACK_SECONDS = 60
LONGER_THAN_A_LEASE = (33, 38)
OTHERS = "FROM pg_stat_activity WHERE datname IS NOT NULL AND pid <> pg_backend_pid()"


@kind("Redis killed, back empty")
def kill_redis(rig: Rig) -> None:
    rig.cluster.supervisor.send("redis", signal.SIGKILL)


@kind("Redis flushed")
def flush_redis(rig: Rig) -> None:
    _asked(rig, lambda client: client.flushall())


@kind("Redis out of memory")
def fill_redis(rig: Rig) -> None:
    _asked(rig, lambda client: client.config_set("maxmemory", 1_000_000))
    rig.pause(3, 8)
    _asked(rig, lambda client: client.config_set("maxmemory", 0))


@kind("Redis half-open")
def freeze_redis(rig: Rig) -> None:
    _freeze(rig, "redis", 4, 12)


@kind("Redis away for long")
def hold_redis(rig: Rig) -> None:
    _hold(rig, "redis", 20, 30)


@kind("one message fifty times")
def send_one_message_fifty_times(rig: Rig) -> None:
    from workers.messaging import enqueue  # noqa: PLC0415 (it needs the settings)
    from zekron_api.celery import app  # noqa: PLC0415 (likewise)

    with rig.cluster.database() as database:
        rows = database.execute("SELECT id FROM workers_generation ORDER BY id DESC LIMIT 3").fetchall()
    if not rows:
        raise TooEarly
    try:
        for generation_id in [row[0] for row in rows for _ in range(50)]:
            app.send_task(
                enqueue.GENERATE_TASK, kwargs={"generation_id": generation_id}, queue="gpu", retry=False
            )
    except OperationalError as error:
        raise TooEarly from error


@kind("PostgreSQL crashes")
def crash_postgres(rig: Rig) -> None:
    rig.cluster.crash_database()
    rig.pause(0, 3)
    rig.cluster.start_database()


@kind("PostgreSQL away")
def hold_postgres(rig: Rig) -> None:
    rig.cluster.crash_database()
    rig.pause(8, 12)
    rig.cluster.start_database()


@kind("PostgreSQL's connections ended")
def end_connections(rig: Rig) -> None:
    with rig.cluster.database() as database:
        database.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")


@kind("PostgreSQL's backend killed")
def kill_a_backend(rig: Rig) -> None:
    # The server takes its shared memory for spoilt then, ends all connections and recovers.
    with rig.cluster.database() as database:
        rows = database.execute(f"SELECT pid {OTHERS}").fetchall()
        if rows:
            os.kill(rig.chance.choice(rows)[0], signal.SIGKILL)


@kind("PostgreSQL frozen")
def freeze_postgres(rig: Rig) -> None:
    pids = rig.cluster.database_pids()
    for pid in pids:
        _tell(pid, signal.SIGSTOP)
    rig.pause(3, 8)
    for pid in pids:
        _tell(pid, signal.SIGCONT)


@kind("PostgreSQL's network frozen")
def freeze_network(rig: Rig) -> None:
    # Connections are accepted and bytes acknowledged, and nothing comes back. It lasts longer than a lease.
    _freeze(rig, NETWORK, *LONGER_THAN_A_LEASE)


@kind("PostgreSQL's network frozen for a moment")
def freeze_network_briefly(rig: Rig) -> None:
    _freeze(rig, NETWORK, 2, 8)


@kind("PostgreSQL's network cut")
def cut_network(rig: Rig) -> None:
    _hold(rig, NETWORK, 2, 8)


@kind("store killed, away")
def hold_store(rig: Rig) -> None:
    _hold(rig, "store", 1, 6)


@kind("store frozen")
def freeze_store(rig: Rig) -> None:
    _freeze(rig, "store", 4, 12)


@kind("store refuses")
def close_store(rig: Rig) -> None:
    rig.cluster.objects.chmod(0)
    rig.pause(2, 6)
    rig.cluster.objects.chmod(0o700)


def _hold(rig: Rig, name: str, least_seconds: float, most_seconds: float) -> None:
    rig.cluster.supervisor.hold(name)
    rig.cluster.supervisor.send(name, signal.SIGKILL)
    rig.pause(least_seconds, most_seconds)
    rig.cluster.supervisor.let_go(name)
    rig.cluster.supervisor.wait_for(name, other_than=None)


def _freeze(rig: Rig, name: str, least_seconds: float, most_seconds: float) -> None:
    rig.cluster.supervisor.send(name, signal.SIGSTOP)
    rig.pause(least_seconds, most_seconds)
    rig.cluster.supervisor.send(name, signal.SIGCONT)


def _asked(rig: Rig, question: Callable[[redis.Redis], object]) -> None:
    """Asks Redis as soon as it is back from the last fault."""
    give_up_at = time.monotonic() + BACK_SECONDS
    while True:
        try:
            with rig.cluster.redis() as client:
                question(client)
            return
        except redis.RedisError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.1)


def _tell(pid: int, number: signal.Signals) -> None:
    # A backend may have ended meanwhile.
    with suppress(ProcessLookupError):
        os.kill(pid, number)
