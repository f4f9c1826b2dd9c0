"""A rolling upgrade under load: the database of the release before is migrated, and its processes are replaced."""

import shutil
import subprocess
import tarfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from tests.chaos.client_log import ClientLog
from tests.chaos.cluster import BEATS, GPUS, WEBS, Cluster
from tests.chaos.supervisor import ROOT

# The order that docs/operations.md asks for: web is the last, because it alone accepts what the others must know.
ORDER: Final = (*GPUS, "chores", *BEATS, *WEBS)
# The database is migrated once this part of the orders is accepted, so that both releases also work at rest.
BEFORE: Final = 0.2
POLL_SECONDS: Final = 0.2
# A web that stops waits for its clients for up to 110 s.
REPLACE_SECONDS: Final = 180
PREVIOUS: Final = "previous"


class UpgradeFailed(Exception):
    """The database could not be migrated, or a process of this release did not start."""


class Upgrade:
    """Replaces the processes of a cluster that runs the release before. `injected` counts its steps."""

    def __init__(self, *, cluster: Cluster, client_log: ClientLog, order_count: int) -> None:
        self.injected: Counter[str] = Counter()
        self._cluster = cluster
        self._client_log = client_log
        self._order_count = order_count

    def inject_all(self) -> None:
        """Migrate and replace, and return when all processes are of this release. Raise UpgradeFailed."""
        while self._client_log.accepted_count() < BEFORE * self._order_count:
            time.sleep(POLL_SECONDS)
        self._cluster.code = ROOT
        migrated = self._cluster.manage("migrate", "--noinput", "--verbosity=0")
        if migrated.returncode:
            raise UpgradeFailed(migrated.stdout + migrated.stderr)
        self.injected["the database is migrated under the release before"] += 1
        for name in ORDER:
            self._cluster.replace(name, seconds=REPLACE_SECONDS)
            self.injected[f"a process of this release in place of one before: {name.partition('-')[0]}"] += 1


def unpack(commit: str, folder: Path) -> None:
    """Write the files of the commit into a new folder. `previous` is the last one with fewer migrations than this."""
    folder.mkdir()
    base = _git("rev-parse", _before_the_last_migration() if commit == PREVIOUS else commit)
    archive = folder.with_suffix(".tar")
    _git("archive", f"--output={archive}", base)
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")


def _before_the_last_migration() -> str:
    """Return the parent of the last commit that added a migration."""
    return _git("log", "-1", "--diff-filter=A", "--format=%H^", "--", "*/migrations/0*.py")


def _git(*arguments: str) -> str:
    git = shutil.which("git")
    if git is None:
        raise UpgradeFailed("git, which knows the release before, is missing.")
    return subprocess.run(
        [git, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
