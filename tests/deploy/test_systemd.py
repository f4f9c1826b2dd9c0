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
    example = (SYSTEMD / "environment.example").read_text()
    ended = manage(tmp_path, example, "check", "--deploy", "--fail-level", "WARNING")
    assert (ended.returncode, ended.stdout) == (0, "System check identified no issues (2 silenced).\n"), (
        ended.stderr
    )


@pytest.mark.processes
def test_a_command_of_manage_takes_values_as_systemd_does(tmp_path: Path) -> None:
    variables = """
; a comment
a line without a variable
ALLOWED_HOSTS="a.example.com, b.example.com"
PUBLIC_URL='https://a.example.com'
STORAGE_URL=s3://bucket/prefix?endpoint_url=https://store.example.com&region=eu
EMAIL_FROM=Zekron $HOME <zekron@example.com>"""
    code = (
        "from django.conf import settings as s;"
        "print(s.ALLOWED_HOSTS, s.PUBLIC_URL, s.STORAGES['objects']['OPTIONS'], s.DEFAULT_FROM_EMAIL)"
    )
    ended = manage(tmp_path, variables, "shell", "--no-imports", "--command", code)
    assert ended.returncode == 0, ended.stderr
    for value in ("['a.example.com', 'b.example.com'] https://a.example.com", "'bucket'", "'eu'"):
        assert value in ended.stdout
    assert ended.stdout.endswith("Zekron $HOME <zekron@example.com>\n")


def manage(folder: Path, variables: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    subprocess.run([DEPLOY / "make_secrets.sh", folder / "secrets"], check=True, timeout=30)
    (folder / "environment").write_text(variables)
    script = (SYSTEMD / "manage.sh").read_text()
    script = script.replace("/etc/zekron", str(folder)).replace("/opt/zekron", str(ROOT))
    (folder / "manage.sh").write_text(script)
    return subprocess.run(
        ["/bin/sh", folder / "manage.sh", *arguments],
        env={name: os.environ[name] for name in ("PATH", "HOME")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_all_units_are_started_with_the_target(units: Path, tmp_path: Path) -> None:
    folder = tmp_path / "etc" / "systemd" / "system"
    shutil.copytree(units, folder, ignore=shutil.ignore_patterns("zekron-gpu@0.service"))
    _run("systemctl", "--root", tmp_path, "enable", "zekron.target", *UNITS)
    assert {path.name for path in (folder / "zekron.target.wants").iterdir()} == set(UNITS)
    assert (folder / "multi-user.target.wants" / "zekron.target").is_symlink()
