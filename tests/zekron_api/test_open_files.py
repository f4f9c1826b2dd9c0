"""How many files the web process may open: each client that waits is one."""

import os
import resource
import subprocess
import sys

from tests.processes import ROOT

# As a shell begins, on most systems.
START = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, {most}))
import zekron_api.asgi
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def test_a_web_process_takes_all_that_the_system_allows():
    most = min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    command = [sys.executable, "-c", START.format(most=most)]
    environment = {**os.environ, "DEBUG": "1"}
    started = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert started.stdout.split() == [str(most)]
