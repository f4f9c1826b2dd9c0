"""Faults of our own processes: workers, webs, chores and beats are killed, frozen, stopped, and die at named points."""

import signal
from functools import partial

from tests.chaos.cluster import BEATS, GPUS, WEBS
from tests.chaos.faults import Rig, kind

# Over a lease of 30 s and a sweep of 5.
ZOMBIE_SECONDS = (36, 42)
FAILING_SECONDS = 8
# Some of it is over the lease of an event, 60 s, and all of it over the longest attempt.
FROZEN_CHORES_SECONDS = (18, 70)


@kind("worker killed")
def kill_a_worker(rig: Rig) -> None:
    rig.cluster.supervisor.send(rig.some_worker(), signal.SIGKILL)


@kind("all workers killed at once")
def kill_all_workers(rig: Rig) -> None:
    for name in GPUS:
        rig.cluster.supervisor.send(name, signal.SIGKILL)


@kind("worker frozen beyond its lease")
def freeze_a_worker(rig: Rig) -> None:
    _freeze(rig, rig.some_worker(), ZOMBIE_SECONDS)


@kind("worker stopped (SIGTERM)")
def deploy_a_worker(rig: Rig) -> None:
    rig.cluster.supervisor.send(rig.some_worker(), signal.SIGTERM)


@kind("chores worker killed")
def kill_chores(rig: Rig) -> None:
    rig.cluster.supervisor.send("chores", signal.SIGKILL)


@kind("chores worker frozen")
def freeze_chores(rig: Rig) -> None:
    _freeze(rig, "chores", FROZEN_CHORES_SECONDS)


@kind("chores worker stopped (SIGTERM)")
def deploy_chores(rig: Rig) -> None:
    rig.cluster.supervisor.send("chores", signal.SIGTERM)


@kind("chores worker dies between lease and sending")
def kill_chores_before_it_sends(rig: Rig) -> None:
    _restart_with(rig, "chores", "webhook_claimed=kill", by=signal.SIGKILL)


@kind("chores worker dies between sending and record")
def kill_chores_before_it_records(rig: Rig) -> None:
    _restart_with(rig, "chores", "webhook_sent=kill", by=signal.SIGKILL)


def _dies_at(point: str) -> None:
    @kind(f"worker dies at: {point}")
    def die(rig: Rig) -> None:
        _restart_with(rig, rig.some_worker(), f"{point}=kill")


def _fails_at(failpoint: str) -> None:
    @kind(f"worker, for some seconds: {failpoint}")
    def fail(rig: Rig) -> None:
        name = rig.some_worker()
        _restart_with(rig, name, failpoint)
        rig.later(FAILING_SECONDS, partial(rig.cluster.supervisor.send, name, signal.SIGTERM), engages=name)


for _point in ("claimed", "painted", "stored", "settling", "ended"):
    _dies_at(_point)
for _failpoint in ("stored=raise", "settling=raise", "stored=hang:8", "settling=hang:4"):
    _fails_at(_failpoint)


@kind("web killed with clients waiting")
def kill_a_web(rig: Rig) -> None:
    rig.cluster.supervisor.send(rig.chance.choice(WEBS), signal.SIGKILL)


@kind("web stopped with clients waiting (SIGTERM)")
def deploy_a_web(rig: Rig) -> None:
    rig.cluster.supervisor.send(rig.chance.choice(WEBS), signal.SIGTERM)


@kind("web dies between commit and message")
def kill_a_web_before_the_message(rig: Rig) -> None:
    _restart_with(rig, rig.chance.choice(WEBS), "submitted=kill", by=signal.SIGKILL)


@kind("both beats down")
def stop_both_beats(rig: Rig) -> None:
    for name in BEATS:
        rig.cluster.supervisor.hold(name)
        rig.cluster.supervisor.send(name, signal.SIGKILL)
        rig.later(rig.chance.uniform(20, 30), partial(rig.cluster.supervisor.let_go, name))


@kind("four sweeps and two purges at once")
def sweep_four_times_at_once(rig: Rig) -> None:
    commands = ["sweep"] * 4 + ["purge"] * 2
    for process in [rig.cluster.begin(command) for command in commands]:
        process.wait()


def _freeze(rig: Rig, name: str, seconds: tuple[int, int]) -> None:
    pid = rig.cluster.supervisor.send(name, signal.SIGSTOP)
    rig.later(rig.chance.uniform(*seconds), partial(_thaw, rig, name, pid), engages=name)


def _thaw(rig: Rig, name: str, pid: int | None) -> None:
    # Another process may have come in its place.
    if rig.cluster.supervisor.pid(name) == pid:
        rig.cluster.supervisor.send(name, signal.SIGCONT)


def _restart_with(rig: Rig, name: str, failpoints: str, *, by: signal.Signals = signal.SIGTERM) -> None:
    rig.cluster.supervisor.arm(name, FAILPOINTS=failpoints)
    rig.cluster.supervisor.send(name, by)
