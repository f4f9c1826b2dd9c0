"""The units of systemd are read without a complaint, are confined, and can be enabled."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.artefacts import DEPLOY, SYSTEMD
from tests.processes import ROOT

# The scale of systemd-analyze ends at 10, which a unit without any confinement nearly reaches.
MAX_EXPOSURE: Final = 2.5
UNITS: Final = (
    *("zekron-release.service", "zekron-web.service", "zekron-gpu@0.service"),
    *("zekron-chores.service", "zekron-beat.service"),
)


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the units for an installation in this folder, because systemd looks for the programs."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed (Debian: systemd).")
    folder = tmp_path_factory.mktemp("systemd")
    for path in SYSTEMD.rglob("*"):
        copy = folder / path.relative_to(SYSTEMD)
        if path.is_file():
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(path.read_text().replace("/opt/zekron", str(ROOT)))
    (folder / "zekron-gpu@0.service").symlink_to("zekron-gpu@.service")
    return folder


def _run(*command: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_systemd_has_no_complaint(units: Path) -> None:
    # A key that systemd does not know is a line of stderr and no failure.
    ended = _run(
        "systemd-analyze", "verify", "--man=no", units / "zekron.target", *(units / name for name in UNITS)
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_shared_lines_count_in_each_unit(units: Path) -> None:
    common = units / "zekron-.service.d" / "common.conf"
    text = common.read_text()
    try:
        common.write_text(text + "NoSuchKey=yes\n")
        for name in UNITS:
            assert "NoSuchKey" in _run("systemd-analyze", "verify", "--man=no", units / name).stderr
    finally:
        common.write_text(text)


def test_each_unit_is_confined(units: Path) -> None:
    for name in UNITS:
        ended = _run("systemd-analyze", "security", "--offline=true", units / name)
        exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", ended.stdout)
        assert exposure, ended.stderr
        assert float(exposure[1]) <= MAX_EXPOSURE


@pytest.mark.processes
def test_a_command_of_manage_has_the_variables_and_secrets_of_the_units(tmp_path: Path) -> None:
    subprocess.run([DEPLOY / "make_secrets.sh", tmp_path / "secrets"], check=True, timeout=30)
    (tmp_path / "environment").write_text((SYSTEMD / "environment.example").read_text())
    script = (SYSTEMD / "manage.sh").read_text()
    script = script.replace("/etc/zekron", str(tmp_path)).replace("/opt/zekron", str(ROOT))
    (tmp_path / "manage.sh").write_text(script)
    foreign = ("PATH", "HOME")
    ended = subprocess.run(
        ["/bin/sh", tmp_path / "manage.sh", "check", "--deploy", "--fail-level", "WARNING"],
        env={name: os.environ[name] for name in foreign},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "System check identified no issues (2 silenced).\n"), (
        ended.stderr
    )


def test_all_units_are_started_with_the_target(units: Path, tmp_path: Path) -> None:
    folder = tmp_path / "etc" / "systemd" / "system"
    shutil.copytree(units, folder, ignore=shutil.ignore_patterns("zekron-gpu@0.service"))
    _run("systemctl", "--root", tmp_path, "enable", "zekron.target", *UNITS)
    assert {path.name for path in (folder / "zekron.target.wants").iterdir()} == set(UNITS)
    assert (folder / "multi-user.target.wants" / "zekron.target").is_symlink()
