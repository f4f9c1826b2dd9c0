"""How seldom the web process stands still to look for garbage."""

import os
import subprocess
import sys

from tests.processes import ROOT

START = """
import gc
import zekron_api.asgi
print(gc.get_freeze_count() > 10_000, gc.isenabled(), *gc.get_threshold())
"""


def test_a_web_process_walks_what_it_has_loaded_no_more_and_all_else_seldom():
    command = [sys.executable, "-c", START]
    environment = {**os.environ, "DEBUG": "1"}
    started = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert started.stdout.split() == ["True", "True", "700", "10", "1000"]
