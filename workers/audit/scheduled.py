"""The audit that runs by itself: it logs what is off, and leaves its outcome in Redis for whoever watches."""

import logging
import time
from typing import Final, NamedTuple

from workers.audit import rows
from workers.messaging import redis_client

log = logging.getLogger(__name__)

# What goes wrong may go wrong in every row; the log then names this many, and how many more there are.
MAX_LOGGED_FINDINGS: Final = 100
_OUTCOME: Final = "zekron:audit"


class Outcome(NamedTuple):
    """How many problems the last audit found, and when it ended, in Unix seconds."""

    problem_count: int
    ended_at_seconds: float


def run() -> Outcome:
    """Audits everything but the objects, and logs each problem as an error. Run twice, it reads and says all twice."""
    problem_count = 0
    for problem in rows.problems():
        problem_count += 1
        if problem_count <= MAX_LOGGED_FINDINGS:
            log.error("audit: %s", problem)
    if problem_count > MAX_LOGGED_FINDINGS:
        log.error("audit: %d more problems; audit_ledger prints them", problem_count - MAX_LOGGED_FINDINGS)
    outcome = Outcome(problem_count, time.time())
    _note(outcome)
    return outcome


def last() -> Outcome | None:
    """The outcome of the last audit; None before the first, or once Redis was emptied. Raises broker.Away."""
    with redis_client.connection_or_unavailable() as connection:
        kept = connection.hgetall(_OUTCOME)
    return Outcome(int(kept[b"problems"]), float(kept[b"ended_at"])) if kept else None


def _note(outcome: Outcome) -> None:
    try:
        with redis_client.connection_or_unavailable() as connection:
            connection.hset(
                _OUTCOME, mapping={"problems": outcome.problem_count, "ended_at": outcome.ended_at_seconds}
            )
    except redis_client.RedisUnavailable as error:
        # The log has the problems, and a watcher sees that no audit has ended since.
        log.warning("the outcome of the audit is not kept: %s", error)
