"""Secrets are made up once on a local machine, and nowhere else."""

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT
from zekron_api.local import secrets

READER = """
import json, pathlib, sys
from zekron_api.local import secrets
sys.stdin.readline()
print(json.dumps(secrets.load_or_create(pathlib.Path(sys.argv[1]))))
"""


@pytest.mark.processes
def test_eight_processes_at_once_get_the_same_secrets_from_a_file_for_one_user(tmp_path: Path) -> None:
    var = tmp_path / "var"
    command = [sys.executable, "-c", READER, str(var)]
    readers = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    for reader in readers:
        reader.stdin.write("now\n")
        reader.stdin.flush()
    answers = {reader.communicate()[0] for reader in readers}
    assert answers == {json.dumps(secrets.load_or_create(var)) + "\n"}
    assert [path.name for path in var.iterdir()] == ["secrets.json"]
    assert stat.S_IMODE((var / "secrets.json").stat().st_mode) == 0o600


def test_a_made_up_master_key_has_32_bytes_and_two_folders_have_different_ones(tmp_path: Path) -> None:
    one, other = (secrets.load_or_create(tmp_path / name) for name in ("one", "other"))
    _, _, encoded = one.master_keys.partition(":")
    assert len(base64.b64decode(encoded)) == 32
    assert not set(one) & set(other)


@pytest.mark.processes
@pytest.mark.parametrize("missing", ["SECRET_KEY", "MASTER_KEYS", "ALLOWED_HOSTS", "PUBLIC_URL"])
def test_with_debug_off_a_missing_secret_stops_the_start_with_one_line(missing: str) -> None:
    given = {
        "SECRET_KEY": "x" * 50,
        "MASTER_KEYS": "a:" + base64.b64encode(bytes(32)).decode(),
        "ALLOWED_HOSTS": "example.org",
        "PUBLIC_URL": "https://example.org",
    }
    del given[missing]
    environment = {"PATH": os.environ["PATH"], "DEBUG": "0", **given}
    command = [sys.executable, str(ROOT / "manage.py"), "migrate"]
    result = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == os.EX_CONFIG
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"zekron: the environment variable {missing} is not set, and has no default outside a local machine."
    ]
