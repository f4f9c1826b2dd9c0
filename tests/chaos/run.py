"""One run: clients and faults, calm, the drills, and then everything that must hold."""

import http.client
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tests.chaos import (
    answers,
    database_invariants,
    plain_celery,
    promises,
    snapshot,
    table,
    webhook_invariants,
)
from tests.chaos.client_log import ClientLog, Owner
from tests.chaos.clients import Clients
from tests.chaos.cluster import WEBS, Cluster
from tests.chaos.drills import Drills
from tests.chaos.fault_schedule import FaultSchedule
from tests.chaos.faults import Rig
from tests.chaos.faults.clocks import WRONG_CHORES
from tests.chaos.receiver import WRONG_CLOCK, Receiver
from tests.chaos.upgrade import Upgrade
from zekron_api.local import servers

# Each may send 60 requests a minute and have 5 generations open.
RICH, POOR = 24, 4
RICH_MICROS, POOR_MICROS = 100_000_000, 500_000
CLIENTS_PER_OWNER = 3
# A program of its own, because the release before knows another database.
OPEN_ACCOUNTS = Path(__file__).parent / "open_accounts.py"
# Three attempts, each under a lease and a backoff, and the sweeps between; the deadline of 600 s is over by then.
MAX_QUIET_SECONDS = 720
# The receiver fails the first two attempts of an event at most. Where faults took the third, the next is due after six
# minutes at most, and may be the last of a process that leaves a lease of a minute.
MAX_DELIVERY_SECONDS = 480


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Amounts of one run. The seed decides all that is left to chance, but not what the processes make of it."""

    orders: int
    faults: int
    rounds: int
    orders_per_second: float
    seed: int
    kinds: str = ""
    is_upgrade: bool = False


class Run:
    """One run of clients and faults on a started cluster."""

    def __init__(self, *, cluster: Cluster, plan: Plan) -> None:
        self._cluster = cluster
        self._plan = plan
        self._client_log = ClientLog()
        self._chance = random.Random(plan.seed)
        self._owners: list[Owner] = []
        address = (cluster.network.own_address, cluster.webhook_port)
        self._receiver = Receiver(client_log=self._client_log, seed=plan.seed, address=address)
        for owner, webhook_key in self._open_accounts():
            self._owners.append(owner)
            self._subscribe(owner, webhook_key)
        self._started = time.monotonic()

    def go(self) -> bool:
        """Run it all, print the table, and return whether everything held."""
        fault_schedule = self._inject_faults()
        drills = Drills(
            cluster=self._cluster,
            clients=self._make_clients(0),
            owners=self._owners[:RICH],
            receiver=self._receiver,
            chance=self._chance,
        )
        problems = {"the service quietens": list(self._quieten())}
        if not problems["the service quietens"]:
            problems["recoveries within their time"] = list(self._drill(drills))
            problems["the service quietens"] = list(self._quieten())
        self._tell("Checking what must hold.")
        problems |= self._check(has_wrong_clock=WRONG_CHORES in fault_schedule.injected)
        self._receiver.close()
        for line in chain(
            table.faults(fault_schedule.injected),
            table.orders(self._client_log, self._snapshot),
            table.webhooks(self._receiver.attempts()),
            table.restarts(self._cluster.supervisor.ends),
            table.recoveries(drills.recoveries),
            table.verdicts(problems),
        ):
            say(line)
        return not any(problems.values())

    def _inject_faults(self) -> FaultSchedule | Upgrade:
        clients = self._make_clients(CLIENTS_PER_OWNER)
        rig = Rig(
            cluster=self._cluster,
            client_log=self._client_log,
            clients=clients,
            chance=random.Random(self._plan.seed),
        )
        fault_schedule = self._choose_faults(rig)
        clients.start()
        fault_schedule.inject_all()
        rig.calm()
        self._cluster.heal()
        self._tell(f"Calm: {self._client_log.accepted_count()} orders are accepted.")
        give_up_at = (
            time.monotonic() + MAX_QUIET_SECONDS + 2 * self._plan.orders / self._plan.orders_per_second
        )
        while self._client_log.accepted_count() < self._plan.orders and time.monotonic() < give_up_at:
            time.sleep(0.5)
        self._tell("Nobody orders any more; clients get their last answers.")
        clients.stop()
        clients.join()
        return fault_schedule

    def _choose_faults(self, rig: Rig) -> FaultSchedule | Upgrade:
        plan = self._plan
        if plan.is_upgrade:
            self._tell(f"Upgrade: the release before is replaced by this one over {plan.orders} orders.")
            return Upgrade(cluster=self._cluster, client_log=self._client_log, order_count=plan.orders)
        self._tell(f"Faults: {plan.faults} faults over {plan.orders} orders.")
        return FaultSchedule(
            rig=rig, seed=plan.seed, fault_count=plan.faults, order_count=plan.orders, only=plan.kinds
        )

    def _tell(self, line: str) -> None:
        say(f"{time.monotonic() - self._started:5.0f} s  {line}")

    def _make_clients(self, clients_per_owner: int) -> Clients:
        return Clients(
            client_log=self._client_log,
            owners=self._owners,
            webs=[self._cluster.addresses[name] for name in WEBS],
            seed=self._plan.seed,
            orders_per_second=self._plan.orders_per_second,
            clients_per_owner=clients_per_owner,
        )

    def _quieten(self) -> Iterator[str]:
        """Wait until nothing is open and nothing is to be sent; yield a line when that takes too long."""
        for counted, limit_seconds in (
            ("workers_generation WHERE status IN ('queued', 'running')", MAX_QUIET_SECONDS),
            ("workers_webhookdelivery WHERE next_at IS NOT NULL", MAX_DELIVERY_SECONDS),
        ):
            give_up_at = time.monotonic() + limit_seconds
            while count := self._count(counted):
                if time.monotonic() > give_up_at:
                    yield f"after {limit_seconds} s there are still {count} of {counted}"
                    return
                time.sleep(0.5)
        self._tell("Quiet: nothing is open, and no webhook waits.")

    def _drill(self, drills: Drills) -> Iterator[str]:
        self._tell("Drills: each fault alone.")
        try:
            drills.run(rounds=self._plan.rounds)
        except TimeoutError as error:
            yield str(error)
        for each in drills.recoveries:
            if max(each.seconds, default=0) > each.limit_seconds:
                yield f"{each.name}: {max(each.seconds):.1f} s, allowed are {each.limit_seconds} s"

    def _count(self, rows: str) -> int:
        with self._cluster.database() as database:
            return database.execute(f"SELECT count(*) FROM {rows}").fetchone()[0]  # noqa: S608 (constants)

    def _open_accounts(self) -> Iterator[tuple[Owner, str]]:
        """Open the accounts by the release that runs. Yield each with a key for its webhooks alone."""
        openings = [RICH_MICROS] * RICH + [POOR_MICROS] * POOR
        done = self._cluster.run(str(OPEN_ACCOUNTS), *map(str, openings))
        if done.returncode:
            raise AssertionError(f"no accounts: {done.stderr}")
        for (account_id, key, webhook_key), opening_micros in zip(
            json.loads(done.stdout), openings, strict=True
        ):
            yield Owner(account_id, key, opening_micros), webhook_key

    def _subscribe(self, owner: Owner, key: str) -> None:
        """Create the account's webhook as its owner does, by a key for nothing else."""
        connection = http.client.HTTPConnection(*self._cluster.addresses[WEBS[0]], timeout=60)
        connection.request(
            "POST",
            "/v1/webhooks",
            json.dumps({"url": self._receiver.url_of(owner.account_id)}),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status != 201:
            raise AssertionError(f"POST /v1/webhooks is {answer.status}: {content[:200]!r}")
        self._receiver.trust(account_id=owner.account_id, secret=json.loads(content)["data"]["secret"])

    def _check(self, *, has_wrong_clock: bool) -> dict[str, list[str]]:
        tidy = list(self._tidy_up())
        with self._cluster.database() as database:
            self._snapshot = snapshot.gather(database, object_keys=self._cluster.object_keys())
        found: Mapping[str, Iterator[str]] = {
            name: invariant(self._snapshot, self._client_log)
            for name, invariant in database_invariants.INVARIANTS.items()
        }
        clerk = promises.Clerk(self._cluster)
        attempts = self._receiver.attempts()
        strange_clocks = [
            f"generation {each.generation_id}: its webhook was signed for another hour"
            for each in attempts
            if each.answer == WRONG_CLOCK and not has_wrong_clock
        ]
        return {
            "purge and audit succeed": tidy,
            **{name: list(problems) for name, problems in found.items()},
            "8 images as made, for their owner alone": list(
                promises.images(clerk, self._snapshot, self._client_log)
            ),
            "10 printed balance + spent = paid in": list(
                promises.statements(clerk, self._snapshot, self._client_log)
            ),
            **{
                name: list(invariant(self._snapshot, attempts))
                for name, invariant in webhook_invariants.INVARIANTS.items()
            },
            "11 signed for its time, unless by a wrong clock": strange_clocks,
            "no error that a retry does not heal": list(answers.problems(self._client_log)),
            "nothing that must not be said": self._client_log.offences,
        }

    def _tidy_up(self) -> Iterator[str]:
        for arguments in (("purge", "--orphans-older-than", "0"), ("audit_ledger",)):
            done = self._cluster.manage(*arguments)
            if done.returncode:
                yield from f"{' '.join(arguments)} fails\n{done.stdout}{done.stderr}".splitlines()


def say(line: str) -> None:
    """Print the line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def compare(plan: Plan) -> None:
    """Print what plain Celery loses under the same kills."""
    with servers.ending_signals_raise():
        say(plain_celery.compare(seed=plan.seed))
