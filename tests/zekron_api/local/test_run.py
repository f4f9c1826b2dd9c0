"""The program of `make run`, beside its supervisor and its preparation."""

import subprocess
import sys

import pytest

from tests.processes import ROOT
from zekron_api.local import run, supervisord

pytestmark = pytest.mark.processes


def test_the_program_starts_without_django_and_celery() -> None:
    code = "import sys, zekron_api.local.demo; print({'django', 'celery', 'psycopg'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def test_what_starts_first_is_in_the_procfile() -> None:
    names = set(supervisord.read(ROOT / "Procfile"))
    assert names >= set(run.FIRST) == {"gpu", "web"}
