"""Comparison with plain Celery: the number of tasks lost under these kills, with all that Celery offers against it.

`python -m tests.chaos.plain_celery` prints one line. A task writes its id to a file; late acknowledgement, rejection
on a lost worker and redelivery are on, and nothing but the broker remembers the task.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import redis
from celery import Celery

from tests.chaos.supervisor import Supervisor
from zekron_api.local import redis_server
from zekron_api.local.run import free_port

TASKS = 4000
KILLS = 40
WORKERS = 2
CHILDREN = 4
TASK_SECONDS = 0.002
# Redelivery is Celery's last resort, and happens to all that is due when a worker starts: it is given every chance.
VISIBILITY_SECONDS = 10
CHANCES = 3

app = Celery("plain", broker=os.environ.get("PLAIN_BROKER", "memory://"))
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_max_retries=None,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": VISIBILITY_SECONDS, "socket_timeout": 5},
)


@app.task(name="plain.write")
def write(number: int) -> None:
    """Do some work, and then leave its only trace."""
    time.sleep(TASK_SECONDS)
    with Path(os.environ["PLAIN_TRACES"]).open("a") as traces:
        traces.write(f"{number}\n")


def compare(*, seed: int, tasks: int = TASKS, kills: int = KILLS) -> str:
    """Send the tasks, kill workers among them, wait until nothing moves; return a line of what was lost and doubled."""
    folder = Path(tempfile.mkdtemp(prefix="zekron-plain-"))
    port = free_port()
    os.environ["PLAIN_BROKER"] = f"redis://127.0.0.1:{port}/0"
    app.conf.update(broker_url=os.environ["PLAIN_BROKER"])
    os.environ["PLAIN_TRACES"] = str(folder / "traces")
    (folder / "traces").touch()
    supervisor = Supervisor(logs=folder / "log")
    try:
        configuration = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        supervisor.add("redis", [redis_server.binary(), *configuration], os.environ)
        _wait_for(port)
        options = ["worker", "-P", "prefork", "-c", str(CHILDREN), "--without-gossip", "--without-mingle"]
        names = [f"plain-{place}" for place in range(WORKERS)]
        for name in names:
            command = [sys.executable, "-m", "celery", "-A", "tests.chaos.plain_celery", *options]
            supervisor.add(name, [*command, "-n", f"{name}@chaos", "-l", "ERROR"], os.environ)
        _run(supervisor, names, random.Random(seed), tasks, kills)
        _redeliver(supervisor, names, port)
        return _told(folder / "traces", tasks, kills)
    finally:
        supervisor.close()
        shutil.rmtree(folder)


def _run(supervisor: Supervisor, names: list[str], chance: random.Random, tasks: int, kills: int) -> None:
    """Send everything, and kill a worker in the midst of each part of the tasks, at the pace at which they run."""
    traces = Path(os.environ["PLAIN_TRACES"])
    for number in range(tasks):
        write.apply_async(args=(number,))
    for kill in range(1, kills + 1):
        give_up_at = time.monotonic() + 15
        while len(_lines(traces)) < tasks * kill / (kills + 1) and time.monotonic() < give_up_at:
            time.sleep(0.002)
        supervisor.send(chance.choice(names), signal.SIGKILL)


def _redeliver(supervisor: Supervisor, names: list[str], port: int) -> None:
    """Wait until the broker has nothing any more; start workers anew, so that they take what others left."""
    for _ in range(CHANCES):
        give_up_at = time.monotonic() + 2 * VISIBILITY_SECONDS
        while _left(port) and time.monotonic() < give_up_at:
            time.sleep(0.5)
        if _left(port):
            supervisor.send(names[0], signal.SIGTERM)


def _left(port: int) -> int:
    with redis.Redis(port=port) as client:
        return int(client.llen("celery")) + int(client.hlen("unacked"))


def _told(traces: Path, tasks: int, kills: int) -> str:
    ran = Counter(_lines(traces))
    doubled = sum(times > 1 for times in ran.values())
    return (
        f"plain Celery (acks_late, reject_on_worker_lost, redelivery): of {tasks} tasks under {kills} SIGKILLs"
        f" {tasks - len(ran)} lost, {doubled} run twice or more"
    )


def _lines(traces: Path) -> list[str]:
    return traces.read_text().splitlines()


def _wait_for(port: int) -> None:
    while True:
        try:
            with redis.Redis(port=port) as client:
                client.ping()
            return
        except redis.ConnectionError:
            time.sleep(0.05)


if __name__ == "__main__":
    sys.stdout.write(compare(seed=int(os.environ.get("CHAOS_SEED") or time.time())) + "\n")
