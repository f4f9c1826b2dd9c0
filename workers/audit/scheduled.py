"""Scheduled audit: it logs each discrepancy, and keeps its outcome in Redis for the metrics."""

import logging
import time
from typing import Final, NamedTuple

from storage.postgresql import time_limits
from workers.audit import rows
from workers.messaging import redis_client

log = logging.getLogger(__name__)

# A defect may affect every row. The log then names this number of discrepancies and counts the rest.
MAX_LOGGED_FINDINGS: Final = 100
_OUTCOME: Final = "zekron:audit"


class Outcome(NamedTuple):
    """The number of discrepancies that the last audit found, and its end in Unix seconds."""

    problem_count: int
    ended_at_seconds: float


def run() -> Outcome:
    """Audit everything but the objects, and log each discrepancy as an error. A second run reads and logs it again."""
    problem_count = 0
    with time_limits.long_statements(seconds=time_limits.AUDIT_SECONDS):
        for problem in rows.problems():
            problem_count += 1
            if problem_count <= MAX_LOGGED_FINDINGS:
                log.error("audit: %s", problem)
    if problem_count > MAX_LOGGED_FINDINGS:
        log.error("audit: %d more problems; audit_ledger prints them", problem_count - MAX_LOGGED_FINDINGS)
    outcome = Outcome(problem_count, time.time())
    _publish(outcome)
    return outcome


def read_last() -> Outcome | None:
    """Return the last audit's outcome, or None before the first one or after Redis was emptied.

    Raise RedisUnavailable.
    """
    with redis_client.connection_or_unavailable() as connection:
        kept = connection.hgetall(_OUTCOME)
    return Outcome(int(kept[b"problems"]), float(kept[b"ended_at"])) if kept else None


def _publish(outcome: Outcome) -> None:
    try:
        with redis_client.connection_or_unavailable() as connection:
            connection.hset(
                _OUTCOME, mapping={"problems": outcome.problem_count, "ended_at": outcome.ended_at_seconds}
            )
    except redis_client.RedisUnavailable as error:
        # The log has the discrepancies, and the metrics show that no audit has ended since.
        log.warning("could not keep the outcome of the audit: %s", error)
