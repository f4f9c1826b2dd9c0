"""The commands that Redis is sent, as its MONITOR shows them. Commands inside a script are not shown."""

import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import redis

# Commands that depend on time or on new connections, and not on the amount of work: health checks of connections, the
# registry of workers, Celery's events, its search for messages of dead workers, and kombu's renewal of its bindings.
# MULTI and EXEC frame commands of one trip, which count by themselves.
_BY_THE_CLOCK: Final = (
    "HELLO ",
    "AUTH ",
    "SELECT ",
    "CLIENT ",
    "PING",
    "ZADD zekron:workers:",
    "ZREMRANGEBYSCORE zekron:workers:",
    "HSET zekron:workers:",
    "EXPIRE zekron:workers:",
    "PUBLISH /",
    "SET unacked_mutex",
    "ZREVRANGEBYSCORE unacked_index",
    "SCRIPT ",
    "MULTI",
    "EXEC",
)
_KOMBU_BINDINGS: Final = "_kombu.binding"
# An idle worker repeats it every second. Each message needs it once.
_POLL: Final = "BRPOP "
_MESSAGE: Final = "LPUSH "


@contextmanager
def record_commands(client: redis.Redis) -> Iterator[list[str]]:
    """Collect the commands sent to the client's database in the block. The list is complete after it."""
    sent: list[str] = []
    marker = f"ECHO {uuid.uuid4()}"
    # Its own connections open before the recording begins. redis-py has no types for its monitor.
    with client.client() as speaker, client.monitor() as monitor:  # type: ignore[no-untyped-call]
        thread = threading.Thread(
            target=_record, args=(monitor, sent, marker, client.get_connection_kwargs().get("db", 0))
        )
        thread.start()
        try:
            yield sent
        finally:
            # MONITOR shows commands in the order in which Redis receives them.
            speaker.echo(marker.partition(" ")[2])
            thread.join()


def select_work(sent: Sequence[str], *, queue: str) -> list[str]:
    """Return the commands that work causes. Of the polls of the queue, one for each message counts."""
    worked = [
        command
        for command in sent
        if not command.startswith((*_BY_THE_CLOCK, _POLL)) and _KOMBU_BINDINGS not in command
    ]
    messages = [command for command in worked if command.startswith(f"{_MESSAGE}{queue} ")]
    return worked + [f"{_POLL}{queue}"] * len(messages)


def _record(monitor: Any, sent: list[str], marker: str, db: int) -> None:
    while (told := monitor.next_command())["command"] != marker:
        if told["client_type"] != "lua" and int(told["db"]) == db:
            sent.append(told["command"])
