"""`python -m tests.mutants [WORDS]`: exit 0 when some test goes red for every mutation, else 1.

With words, only the mutations whose names have all of them. MUTANTS_JOBS is how many are tried at once.
"""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from urllib.parse import urlsplit

from tests.mutants import (
    account_pages,
    alerts,
    billing,
    cancellation,
    creation,
    engines,
    erasure,
    generate_streams,
    generation_queue,
    history,
    imaging,
    income,
    keys,
    mcp_server,
    openai,
    partial_images,
    people,
    provenance,
    resources,
    scaling,
    staff,
    storage,
    trial,
    usage,
    waiting,
    webhooks,
    workers,
    zekron_api,
)
from tests.mutants.mutation import Mutation
from zekron_api.local import servers

VAR_DIR = Path(__file__).resolve().parent.parent.parent / "var"
JOBS = 2
MUTATIONS = (
    *account_pages.MUTATIONS,
    *alerts.MUTATIONS,
    *billing.MUTATIONS,
    *workers.MUTATIONS,
    *cancellation.MUTATIONS,
    *creation.MUTATIONS,
    *engines.MUTATIONS,
    *erasure.MUTATIONS,
    *generate_streams.MUTATIONS,
    *generation_queue.MUTATIONS,
    *history.MUTATIONS,
    *imaging.MUTATIONS,
    *income.MUTATIONS,
    *keys.MUTATIONS,
    *mcp_server.MUTATIONS,
    *provenance.MUTATIONS,
    *partial_images.MUTATIONS,
    *people.MUTATIONS,
    *resources.MUTATIONS,
    *scaling.MUTATIONS,
    *staff.MUTATIONS,
    *storage.MUTATIONS,
    *zekron_api.MUTATIONS,
    *usage.MUTATIONS,
    *waiting.MUTATIONS,
    *webhooks.MUTATIONS,
    *openai.MUTATIONS,
)


def main(words: Sequence[str]) -> int:
    """Try the mutations, and return the exit status."""
    chosen = [mutation for mutation in MUTATIONS if all(word in mutation.name for word in words)]
    if not chosen:
        _say(f"No mutation's name has all of these words: {' '.join(words)}")
        return 1
    jobs = int(os.environ.get("MUTANTS_JOBS") or JOBS)
    with servers.ending_signals_raise(), servers.running(VAR_DIR):
        url = os.environ.get("DATABASE_URL") or servers.postgres_url(VAR_DIR)
        databases: SimpleQueue[str] = SimpleQueue()
        for number in range(jobs):
            # Tests make their own database beside this one, which need not exist.
            databases.put(urlsplit(url)._replace(path=f"/mutant_{os.getpid()}_{number}").geturl())
        return _try_all(chosen, databases, jobs)


def _try_all(chosen: Sequence[Mutation], databases: "SimpleQueue[str]", jobs: int) -> int:
    tests = sorted({path for mutation in chosen for path in mutation.tests})
    _say(f"Running {len(tests)} files of tests on a copy that lacks nothing.")
    first = databases.get()
    if problem := trial.run_unchanged(tests, database_url=first):
        _say(f"{problem}\nThey are red without any mutation, so nothing can be said.")
        return 1
    databases.put(first)
    _say(f"Trying {len(chosen)} mutations, one at a time, {jobs} at once.")
    verdicts: Counter[str] = Counter()
    threads = ThreadPoolExecutor(jobs)
    trials = {threads.submit(_try, mutation, databases): mutation for mutation in chosen}
    try:
        for done in as_completed(trials):
            result = done.result()
            verdicts[result.verdict] += 1
            _say(f"{result.verdict:9} {result.seconds:4.0f} s  {trials[done].name}\n{'':18}{result.said}")
    finally:
        # Whoever ends this early waits for the trials that have begun, and for no other.
        threads.shutdown(cancel_futures=True)
    _say(", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()))
    return 0 if set(verdicts) == {trial.KILLED} else 1


def _try(mutation: Mutation, databases: "SimpleQueue[str]") -> trial.Result:
    database_url = databases.get()
    try:
        return trial.run(mutation, database_url=database_url)
    finally:
        databases.put(database_url)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
