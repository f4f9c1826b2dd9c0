"""Which commands Redis is sent, as its MONITOR shows them. What a script does inside Redis is not sent to it."""

import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import redis

# What is sent because time has passed or a connection is new, however much work there is: looks at whether connections
# live, what workers show of themselves, Celery's events, and its looks after messages of workers that may be dead.
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
)
# Asked again every second while nothing comes, and once for each message that does.
_POLL: Final = "BRPOP "
_MESSAGE: Final = "LPUSH "


@contextmanager
def recorded(client: redis.Redis) -> Iterator[list[str]]:
    """The list gets each command that the client's database is sent while the block runs, complete after it."""
    sent: list[str] = []
    marker = f"ECHO {uuid.uuid4()}"
    # Its own connections are opened before anything is recorded. redis-py has no types for its monitor.
    with client.client() as speaker, client.monitor() as monitor:  # type: ignore[no-untyped-call]
        thread = threading.Thread(
            target=_record, args=(monitor, sent, marker, client.get_connection_kwargs().get("db", 0))
        )
        thread.start()
        try:
            yield sent
        finally:
            # MONITOR tells in the order in which Redis was told.
            speaker.echo(marker.partition(" ")[2])
            thread.join()


def for_work(sent: Sequence[str], *, queue: str) -> list[str]:
    """Those that were sent because of work. Of the polls for messages of the queue, one for each message counts."""
    worked = [command for command in sent if not command.startswith((*_BY_THE_CLOCK, _POLL))]
    messages = [command for command in worked if command.startswith(f"{_MESSAGE}{queue} ")]
    return worked + [f"{_POLL}{queue}"] * len(messages)


def _record(monitor: Any, sent: list[str], marker: str, db: int) -> None:
    while (told := monitor.next_command())["command"] != marker:
        if told["client_type"] != "lua" and int(told["db"]) == db:
            sent.append(told["command"])
