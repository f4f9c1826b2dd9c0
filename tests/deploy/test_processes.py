"""Every artefact runs the commands of the Procfile, without a shell, and gives each process time to stop."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
from django.conf import settings

from tests.deploy import artefacts
from tests.deploy.artefacts import Process
from zekron_api.local import supervisord

Artefact = Callable[[], dict[str, Process]]
ARTEFACTS: Final[list[Artefact]] = [artefacts.compose, artefacts.kubernetes, artefacts.systemd]
# Options whose values are a matter of the place: addresses, and names that tell workers apart.
PLACES: Final = ("--host", "--port", "-n")


def _plain(command: list[str]) -> list[str]:
    """Return a command without the folder of its program and the values of PLACES."""
    program = re.sub(r"^python3$", "python", Path(command[0]).name)
    after = pairwise(command)
    return [program, *("…" if option in PLACES else word for option, word in after)]


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_each_process_has_the_command_of_the_procfile(artefact: Artefact) -> None:
    expected = {name: _plain(command) for name, command in artefacts.procfile().items()}
    assert {name: _plain(process.command) for name, process in artefact().items()} == expected


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_no_command_needs_a_shell(artefact: Artefact) -> None:
    for process in artefact().values():
        # systemd itself replaces these two.
        text = " ".join(process.command).replace("${WEB_HOST}", "").replace("${PORT}", "")
        assert not re.search(r"[$`;|&<>]", text)


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_each_process_may_finish_before_it_is_killed(artefact: Artefact) -> None:
    needed = {"chores": settings.CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT, **supervisord.STOP_SECONDS}
    for name in artefacts.LONG_LIVED:
        assert artefact()[name].grace_seconds >= needed.get(name, supervisord.DEFAULT_STOP_SECONDS), name
