"""Faults of whole hosts: cut off, parted from one other, slow, with a wrong clock, without power, restarted in turn."""

import signal
from contextlib import suppress
from functools import partial

from tests.chaos.cluster import BEATS, GPUS, PLACES, WEBS
from tests.chaos.faults import Rig, kind
from tests.chaos.faults.clocks import FOLDER

# Over a lease of 30 s and a sweep of 5, and over what a client of the service waits for any peer.
LONG_SECONDS = (36, 44)
SHORT_SECONDS = (6, 14)
# Within the five minutes by which the clocks of receivers of webhooks and of buckets may differ from ours.
WRONG_SECONDS = (-240, -120, 120, 240)
SERVERS = ("database", "redis", "store")


@kind("host of a worker cut off")
def cut_a_worker(rig: Rig) -> None:
    _cut(rig, rig.some_worker(), LONG_SECONDS)


@kind("host of a web cut off")
def cut_a_web(rig: Rig) -> None:
    _cut(rig, rig.chance.choice(WEBS), LONG_SECONDS)


@kind("host of chores and beats cut off")
def cut_chores(rig: Rig) -> None:
    _cut(rig, PLACES["chores"], LONG_SECONDS)


def _server_is_cut_off(host: str) -> None:
    @kind(f"host of the {host} cut off")
    def cut(rig: Rig) -> None:
        rig.hosts.cut(host)
        rig.pause(*SHORT_SECONDS)
        rig.hosts.join(host)

    @kind(f"a worker parted from the {host}")
    def part_a_worker(rig: Rig) -> None:
        _part(rig, rig.some_worker(), host)

    @kind(f"a web parted from the {host}")
    def part_a_web(rig: Rig) -> None:
        _part(rig, rig.chance.choice(WEBS), host)


for _host in SERVERS:
    _server_is_cut_off(_host)


@kind("host of a worker slow")
def slow_a_worker(rig: Rig) -> None:
    _slow(rig, rig.some_worker())


@kind("host of a web slow")
def slow_a_web(rig: Rig) -> None:
    _slow(rig, rig.chance.choice(WEBS))


@kind("host of a worker or a web minutes off")
def skew_a_host(rig: Rig) -> None:
    name = rig.chance.choice((rig.some_worker(), *WEBS))
    wrong = {"PYTHONPATH": str(FOLDER), "CHAOS_CLOCK_SECONDS": str(rig.chance.choice(WRONG_SECONDS))}
    rig.cluster.supervisor.arm(name, **wrong)
    rig.cluster.supervisor.send(name, signal.SIGTERM)
    rig.later(rig.chance.uniform(*LONG_SECONDS), partial(rig.cluster.supervisor.disarm, name), engages=name)


@kind("host without power")
def lose_power(rig: Rig) -> None:
    host = rig.chance.choice((rig.some_worker(), *WEBS, PLACES["chores"]))
    supervisor, names = rig.cluster.supervisor, rig.hosts.processes_of(host)
    rig.hosts.cut(host)
    for name in names:
        supervisor.hold(name)
        supervisor.send(name, signal.SIGKILL)

    def give_back() -> None:
        rig.hosts.join(host)
        for name in names:
            supervisor.let_go(name)

    rig.later(rig.chance.uniform(*LONG_SECONDS), give_back, engages=host)


@kind("all processes restarted in turn")
def restart_in_turn(rig: Rig) -> None:
    supervisor = rig.cluster.supervisor
    for name in (*GPUS, "chores", *BEATS, *WEBS):
        pid = supervisor.send(name, signal.SIGTERM)
        # Another fault may keep it down at this moment.
        with suppress(TimeoutError):
            supervisor.wait_for(name, other_than=pid)


def _cut(rig: Rig, host: str, seconds: tuple[int, int]) -> None:
    rig.hosts.cut(host)
    rig.later(rig.chance.uniform(*seconds), partial(rig.hosts.join, host), engages=host)


def _part(rig: Rig, host: str, other: str) -> None:
    rig.hosts.part(host, other)
    rig.later(rig.chance.uniform(*LONG_SECONDS), partial(rig.hosts.unite, host, other), engages=host)


def _slow(rig: Rig, host: str) -> None:
    rig.hosts.slow(host)
    rig.later(rig.chance.uniform(*LONG_SECONDS), partial(rig.hosts.hasten, host), engages=host)
