"""Networks of a cluster: all processes on this machine, or a network namespace of Linux for each host.

A namespace has an address, routes and sockets of its own, as a host has. A bridge joins them, and the test's own
process is at the bridge.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

LOCAL: Final = "127.0.0.1"
# A frame for this address reaches nobody. The first byte marks it as given by an operator and not by a maker.
NOBODY_MAC: Final = "02:00:00:00:00:01"
# A queue of frames that wait for this rate delays a frame by up to 400 ms, and drops what comes beyond.
SLOW: Final = ("rate", "600kbit", "burst", "8kb", "latency", "400ms")


class NoHosts(Exception):
    """This machine has no network namespaces for this process."""


class Network(Protocol):
    """The addresses of processes by their names, and what runs a command where its process belongs."""

    hosts: Sequence[str]
    own_address: str

    def start(self) -> None: ...
    def close(self) -> None: ...
    def address(self, name: str) -> str: ...
    def command(self, name: str, command: Sequence[str]) -> list[str]: ...
    def heal(self) -> None: ...


class OneMachine:
    """All processes share this machine's loopback."""

    hosts: Sequence[str] = ()
    own_address = LOCAL

    def start(self) -> None:
        """Do nothing: the loopback is there."""

    def close(self) -> None:
        """Do nothing: the loopback stays."""

    def heal(self) -> None:
        """Do nothing: nothing of it breaks."""

    def address(self, name: str) -> str:
        """Return the address at which the process of this name listens."""
        del name
        return LOCAL

    def command(self, name: str, command: Sequence[str]) -> list[str]:
        """Return the command as it is."""
        del name
        return list(command)


class Hosts:
    """A host for each name of `places`, which says on which host each process lives."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places
        self.hosts: Sequence[str] = sorted(set(places.values()))
        # Several runs may share a machine.
        self._prefix = f"z{os.getpid() % 100_000}"
        self._subnet = f"10.{64 + os.getpid() % 64}.{os.getpid() // 64 % 256}"
        self._numbers = {host: number for number, host in enumerate(self.hosts, start=2)}
        self.own_address = f"{self._subnet}.1"

    def start(self) -> None:
        """Make the bridge and the hosts. Raise NoHosts where that is not allowed."""
        if os.geteuid() or not shutil.which("ip"):
            raise NoHosts("Namespaces of networks need root and the command ip of iproute2.")
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("address", "add", f"{self.own_address}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for host in self.hosts:
            self._add(host)

    def close(self) -> None:
        """Remove the hosts and the bridge, whatever has been started of them."""
        for host in self.hosts:
            # The kernel removes the links of a namespace later, and a run that follows needs their names.
            _ip("link", "delete", self._link(host), may_fail=True)
            _ip("netns", "delete", self._namespace(host), may_fail=True)
        _ip("link", "delete", self._bridge, may_fail=True)

    def address(self, name: str) -> str:
        """Return the address of the host on which the process of this name lives."""
        return self._address_of(self._places[name])

    def command(self, name: str, command: Sequence[str]) -> list[str]:
        """Return the command that runs the other one on the host of this process."""
        return ["ip", "netns", "exec", self._namespace(self._places[name]), *command]

    def processes_of(self, host: str) -> list[str]:
        """Return the names of the processes that live on the host."""
        return [name for name, place in self._places.items() if place == host]

    def cut(self, host: str) -> None:
        """Cut the host off from all others: nothing reaches it, and nobody is told."""
        _ip("link", "set", self._link(host), "down")

    def join(self, host: str) -> None:
        """Join the host to the others again."""
        _ip("link", "set", self._link(host), "up")

    def part(self, one: str, other: str) -> None:
        """Let no frame pass between the two. Each still reaches all others."""
        for here, there in ((one, other), (other, one)):
            wrong = ("lladdr", NOBODY_MAC, "dev", "eth0", "nud", "permanent")
            self._on(here, "ip", "neighbour", "replace", self._address_of(there), *wrong)

    def unite(self, one: str, other: str) -> None:
        """Let frames pass between the two again."""
        for here, there in ((one, other), (other, one)):
            self._on(here, "ip", "neighbour", "delete", self._address_of(there), "dev", "eth0", may_fail=True)

    def slow(self, host: str) -> None:
        """Let the host send and receive little, late and with losses."""
        self._on(host, "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", *SLOW)
        _run("tc", "qdisc", "replace", "dev", self._link(host), "root", "tbf", *SLOW)

    def hasten(self, host: str) -> None:
        """Let the host send and receive as the others do."""
        self._on(host, "tc", "qdisc", "delete", "dev", "eth0", "root", may_fail=True)
        _run("tc", "qdisc", "delete", "dev", self._link(host), "root", may_fail=True)

    def heal(self) -> None:
        """Undo all that was done to the hosts."""
        for host in self.hosts:
            self.join(host)
            self.hasten(host)
            self._on(host, "ip", "neighbour", "flush", "dev", "eth0", "nud", "permanent", may_fail=True)

    def _add(self, host: str) -> None:
        namespace, link = self._namespace(host), self._link(host)
        _ip("netns", "add", namespace)
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("link", "set", link, "master", self._bridge, "up")
        self._on(host, "ip", "link", "set", "lo", "up")
        self._on(host, "ip", "address", "add", f"{self._address_of(host)}/24", "dev", "eth0")
        self._on(host, "ip", "link", "set", "eth0", "up")

    def _on(self, host: str, *command: str, may_fail: bool = False) -> None:
        _ip("netns", "exec", self._namespace(host), *command, may_fail=may_fail)

    def _address_of(self, host: str) -> str:
        return f"{self._subnet}.{self._numbers[host]}"

    def _namespace(self, host: str) -> str:
        return f"{self._prefix}-{host}"

    def _link(self, host: str) -> str:
        # The name of a link has 15 characters at most.
        return f"{self._prefix}v{self._numbers[host]}"

    @property
    def _bridge(self) -> str:
        return f"{self._prefix}b"


def _ip(*arguments: str, may_fail: bool = False) -> None:
    _run("ip", *arguments, may_fail=may_fail)


def _run(*command: str, may_fail: bool = False) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode and not may_fail:
        raise NoHosts(f"{' '.join(command)}: {done.stderr.strip()}")
