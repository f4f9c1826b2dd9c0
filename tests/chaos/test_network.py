"""Hosts in network namespaces: they reach each other, and a fault of the network keeps them apart until it is over."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.chaos.network import Hosts, NoHosts
from tests.chaos.readiness import wait_for_port
from tests.processes import ROOT
from zekron_api.local.run import free_port

pytestmark = pytest.mark.processes
TIMEOUT_SECONDS = 0.5
ASK = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3]))"


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Make two hosts, each for the process of its name."""
    hosts = Hosts({"a": "a", "b": "b"})
    try:
        hosts.start()
        yield hosts
    except NoHosts as error:
        pytest.skip(str(error))
    finally:
        # A part of the network may have been made.
        hosts.close()


@contextmanager
def _listening(hosts: Hosts, name: str) -> Iterator[tuple[str, int]]:
    """Let the host of this name listen at a port."""
    address = (hosts.address(name), free_port())
    command = [sys.executable, "-m", "tests.tcp_proxy", *map(str, address), "/nowhere"]
    process = subprocess.Popen(hosts.command(name, command), cwd=ROOT)
    try:
        wait_for_port(address)
        yield address
    finally:
        process.kill()
        process.wait()


def _is_reached(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True


def _is_reached_by(hosts: Hosts, name: str, address: tuple[str, int]) -> bool:
    command = [sys.executable, "-c", ASK, *map(str, address), str(TIMEOUT_SECONDS)]
    return subprocess.run(hosts.command(name, command), capture_output=True, check=False).returncode == 0


def test_a_host_that_is_cut_off_is_reached_by_nobody_until_it_is_joined(hosts: Hosts) -> None:
    with _listening(hosts, "a") as address:
        assert _is_reached_by(hosts, "b", address)
        hosts.cut("a")
        assert not _is_reached(address)
        hosts.join("a")
        assert _is_reached(address)


def test_two_hosts_that_are_parted_are_still_reached_by_all_others(hosts: Hosts) -> None:
    with _listening(hosts, "a") as address:
        hosts.part("b", "a")
        assert not _is_reached_by(hosts, "b", address)
        assert _is_reached(address)
        hosts.heal()
        assert _is_reached_by(hosts, "b", address)


def test_a_slow_host_is_reached_and_a_healed_one_too(hosts: Hosts) -> None:
    with _listening(hosts, "a") as address:
        hosts.slow("a")
        assert _is_reached(address)
        hosts.heal()
        assert _is_reached(address)
