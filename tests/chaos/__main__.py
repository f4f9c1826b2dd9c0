"""`python -m tests.chaos`: exit 0 when everything held, 1 when anything was violated.

CHAOS_JOBS, CHAOS_FAULTS, CHAOS_ROUNDS (of drills) and CHAOS_RATE (orders a second) say how much, CHAOS_SEED replays the
choice of faults, CHAOS_KINDS=Redis takes only those whose names have that text, CHAOS_PLAIN=0 leaves plain Celery out,
and CHAOS_KEEP=1 keeps the folder with data and logs, which a violation keeps as well.

CHAOS_HOSTS=1 gives each process and each server a host of its own, with a network that faults cut, part and slow down.
CHAOS_BASE=COMMIT starts that release and, in place of faults, upgrades it to this one. `previous` is the last commit
with fewer migrations.
"""

import os
import random
import sys

from tests.chaos import upgrade
from tests.chaos.cluster import PLACES, staged
from tests.chaos.network import Hosts, NoHosts, OneMachine

JOBS, FAULTS, ROUNDS, RATE = 800, 50, 1, 10.0


def main() -> int:
    """Run the chaos test, and return the exit status."""
    given = os.environ
    seed = int(given.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    sys.stdout.write(f"CHAOS_SEED={seed}\n")
    network = Hosts(PLACES) if given.get("CHAOS_HOSTS") == "1" else OneMachine()
    with staged(network) as cluster:
        # From here on this process is one of the cluster's: it shares database, secrets and store with the others.
        for name in ("DATABASE_URL", "REDIS_URL", "STORAGE_URL", "DEVICE", "PORT", "FAILPOINTS"):
            os.environ.pop(name, None)
        os.environ.update(cluster.environment, DJANGO_SETTINGS_MODULE="zekron_api.settings")
        import django  # noqa: PLC0415 (it reads the settings, which read the environment)

        django.setup()
        from tests.chaos import run  # noqa: PLC0415 (it has models)

        run.say("Starting PostgreSQL, Redis, an S3 store, two webs, three GPU workers, chores and two beats.")
        try:
            if base := given.get("CHAOS_BASE"):
                cluster.code = cluster.folder / "base"
                upgrade.unpack(base, cluster.code)
            cluster.start()
        except NoHosts as error:
            run.say(f"Skipped: {error}")
            return 0
        plan = run.Plan(
            orders=int(given.get("CHAOS_JOBS") or JOBS),
            faults=int(given.get("CHAOS_FAULTS") or FAULTS),
            rounds=int(given.get("CHAOS_ROUNDS") or ROUNDS),
            orders_per_second=float(given.get("CHAOS_RATE") or RATE),
            seed=seed,
            kinds=given.get("CHAOS_KINDS", ""),
            is_upgrade=bool(base),
        )
        cluster.is_kept = True
        held = run.Run(cluster=cluster, plan=plan).go()
        cluster.is_kept = not held or bool(given.get("CHAOS_KEEP"))
        if cluster.is_kept:
            run.say(f"Data and logs are in {cluster.folder}")
    if given.get("CHAOS_PLAIN") != "0":
        run.compare(plan)
    run.say("Everything held." if held else "VIOLATED: see above.")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
