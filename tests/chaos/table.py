"""Table that `make chaos` prints at its end: what was done, what came of it, and whether it all adds up."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tests.chaos.client_log import ClientLog
from tests.chaos.drills import Recovery
from tests.chaos.receiver import TAKEN, Attempt
from tests.chaos.snapshot import Snapshot
from tests.chaos.supervisor import End

SHOWN_PROBLEMS = 10


def faults(injected: Mapping[str, int]) -> Iterator[str]:
    """Each kind of fault, and how often it was injected."""
    yield f"Faults: {sum(injected.values())} of {len(injected)} kinds"
    for name in sorted(injected):
        yield f"  {injected[name]:5}  {name}"


def orders(client_log: ClientLog, snapshot: Snapshot) -> Iterator[str]:
    """List what clients asked for and saw, and what became of what was accepted."""
    ends = Counter(order.ended or "open" for order in client_log.orders)
    statuses = Counter(row.status for row in snapshot.generations.values())
    attempts = Counter(
        row.attempt_count for row in snapshot.generations.values() if row.status == "completed"
    )
    sent = sum(order.sent_count for order in client_log.orders)
    answers = Counter(
        f"{reply.status} {reply.error_type}".strip() for order in client_log.orders for reply in order.replies
    )
    told = {
        reply.generation_id for order in client_log.orders for reply in order.replies if reply.generation_id
    }
    yield f"Orders: {len(client_log.orders)}, in {sent} requests; as clients saw them: {_listed(ends)}"
    yield f"  answers: {_listed(answers)}"
    yield f"Generations: {len(snapshot.generations)} accepted, {len(told)} told to a client; {_listed(statuses)}"
    yield f"  told to be cancelled: {len(client_log.cancelled)}, told to be deleted: {len(client_log.deleted)}"
    yield f"  completed at attempt {', '.join(f'{n}: {attempts[n]}' for n in sorted(attempts))}"


def webhooks(attempts: Sequence[Attempt]) -> Iterator[str]:
    """List the events that arrived, in how many attempts, and how often one arrived again."""
    counts = Counter(each.webhook_id for each in attempts)
    taken = Counter(each.webhook_id for each in attempts if each.answer == TAKEN)
    types = Counter({each.webhook_id: each.event_type for each in attempts}.values())
    yield (
        f"Webhooks: {len(counts)} events in {len(attempts)} attempts, {len(attempts) - len(counts)} of them repeats;"
        f" {_listed(types)}"
    )
    yield f"  answers: {_listed(Counter(each.answer for each in attempts))}"
    again, most = sum(times > 1 for times in taken.values()), max(counts.values(), default=0)
    yield f"  taken: {len(taken)}, taken more than once: {again}, most attempts of one: {most}"


def restarts(ends: Sequence[End]) -> Iterator[str]:
    """List how many processes of each kind ended and were started again, and which ended by themselves."""
    yield f"Restarts: {_listed(Counter(end.name.partition('-')[0] for end in ends))}"
    strange = Counter(
        f"{end.name.partition('-')[0]} with status {end.status}"
        for end in ends
        # SIGKILL is a failpoint's, or the engine's.
        if not end.asked and end.status != -9
    )
    if strange:
        yield f"  by themselves: {_listed(strange)}"


def recoveries(measured: Sequence[Recovery]) -> Iterator[str]:
    """Seconds that it took to recover, beside what is allowed."""
    yield f"Recovery in seconds: {'':31}  times  median   worst  allowed"
    for each in measured:
        if each.seconds:
            median, worst = statistics.median(each.seconds), max(each.seconds)
            verdict = "ok" if worst <= each.limit_seconds else "TOO LONG"
            yield (
                f"  {each.name:50}  {len(each.seconds):5}  {median:6.1f}  {worst:6.1f}"
                f"  {each.limit_seconds:7.0f}  {verdict}"
            )


def verdicts(problems: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Each thing that must hold: ok, or what violates it."""
    yield "What must hold:"
    for name, found in problems.items():
        yield f"  {name:50}  {f'VIOLATED {len(found)} times' if found else 'ok'}"
        for line in found[:SHOWN_PROBLEMS]:
            yield f"      {line}"


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{times} {what}" for what, times in counted.most_common()) or "none"
