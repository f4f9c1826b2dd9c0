"""The Containerfile keeps the rules of hadolint, and gets from the clone what runs and nothing else."""

import subprocess
import sysconfig
from typing import Final

from tests.deploy.artefacts import DEPLOY
from tests.processes import ROOT

HADOLINT: Final = f"{sysconfig.get_path('scripts')}/hadolint"


def test_hadolint_finds_nothing() -> None:
    ended = subprocess.run(
        [HADOLINT, "--no-color", DEPLOY / "Containerfile"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "")


def test_only_named_files_of_the_clone_are_in_the_context() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in {"", "#"}]
    assert rules[0] == "*"
    admitted = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    assert all((ROOT / name).exists() for name in admitted)
    assert {"billing", "storage", "workers", "zekron_api", "demo_model/weights"} < set(admitted)
