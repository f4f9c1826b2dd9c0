"""The program of `make run`, beside its supervisor and its preparation."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any, cast

import pytest

from tests.processes import ROOT
from zekron_api.local import preparation, run, supervisord

pytestmark = pytest.mark.processes


def test_the_program_starts_without_django_and_celery() -> None:
    code = "import sys, zekron_api.local.demo; print({'django', 'celery', 'psycopg'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


class Recorder:
    """A stand-in for both the supervisor and the preparation, which notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def start(self, names: Sequence[str]) -> None:
        self.asked.append(list(names))

    def wait_for_migrations(self) -> None:
        self.asked.append("migrated")


@pytest.mark.parametrize(
    ("is_migrated", "order"),
    [(True, [["gpu"], "migrated", ["web"]]), (False, ["migrated", ["gpu", "web"]])],
)
def test_the_gpu_worker_starts_before_the_migrations_if_there_are_none(
    is_migrated: bool, order: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setattr(preparation, "has_all_migrations", lambda _url: is_migrated)
    recorder = Recorder()
    run._start_first(cast(Any, recorder), cast(Any, recorder))
    assert recorder.asked == order


def test_a_database_that_a_variable_names_is_prepared_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://db.example.com/zekron")
    recorder = Recorder()
    run._start_first(cast(Any, recorder), cast(Any, recorder))
    assert recorder.asked == ["migrated", ["gpu", "web"]]


def test_what_starts_first_is_in_the_procfile() -> None:
    names = set(supervisord.read(ROOT / "Procfile"))
    assert names >= set(run.FIRST) == {"gpu", "web"}
