import os
import subprocess
import sys

import pytest

from bench import processor_time

pytestmark = [
    pytest.mark.skipif(not processor_time.PROC.is_dir(), reason="there is no /proc here"),
    pytest.mark.processes,
]

WORK = "import time\nwhile time.process_time() < 0.3: pass\n"


def test_a_child_that_has_ended_still_counts() -> None:
    own = os.getpid()
    before = processor_time.read_seconds_of_children(own, without=0)
    subprocess.run([sys.executable, "-c", WORK], check=True)
    assert processor_time.read_seconds_of_children(own, without=0) - before >= 0.25


def test_a_living_child_counts_unless_it_is_left_out() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", f"{WORK}print(flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout
        assert child.stdin
        child.stdout.readline()
        own = processor_time.find_parent(child.pid)
        with_it = processor_time.read_seconds_of_children(own, without=0)
        without_it = processor_time.read_seconds_of_children(own, without=child.pid)
        child.stdin.close()
    assert own == os.getpid()
    assert with_it - without_it >= 0.25
