"""Setup of the web process as it starts: its open files and its garbage collector."""

import os
import resource
import subprocess
import sys

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.processes

# A shell on most systems begins with a soft limit of 256 or 1024 files.
FILES = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, {most}))
import zekron_api.asgi
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""
GARBAGE = """
import gc
import zekron_api.asgi
print(gc.get_freeze_count() > 10_000, gc.isenabled(), *gc.get_threshold())
"""
ROUTES = """
import sys
import zekron_api.asgi
print("zekron_api.urls" in sys.modules, "mcp" in sys.modules)
"""


def test_a_web_process_takes_all_the_files_that_the_system_allows() -> None:
    most = min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    assert _printed_by(FILES.format(most=most)) == [str(most)]


def test_a_web_process_walks_what_it_has_loaded_no_more_and_all_else_seldom() -> None:
    assert _printed_by(GARBAGE) == ["True", "True", "700", "10", "1000"]


def test_a_web_process_has_loaded_its_routes_before_a_health_check_says_that_it_lives() -> None:
    has_routes, _ = _printed_by(ROUTES)
    assert has_routes == "True"


def test_a_web_process_starts_without_the_sdk_of_agents() -> None:
    _, has_sdk = _printed_by(ROUTES)
    assert has_sdk == "False"


def _printed_by(code: str) -> list[str]:
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "DEBUG": "1"}
    started = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    return started.stdout.split()
