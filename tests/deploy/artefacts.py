"""Readers of the files in deploy/: the commands, the environments and the periods of grace that each gives."""

import json
import re
import shlex
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from tests.processes import ROOT

DEPLOY: Final = ROOT / "deploy"
SYSTEMD: Final = DEPLOY / "systemd"
BASE: Final = DEPLOY / "kubernetes" / "base"
LONG_LIVED: Final = ("web", "gpu", "chores", "beat")
DOMAIN: Final = "api.example.com"
# A variable in compose.yaml or in the Procfile, with its default or with what it stands for.
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::[-?](.*?))?\}")
# What each manager waits for where a file says nothing.
COMPOSE_GRACE_SECONDS: Final = 10
KUBERNETES_GRACE_SECONDS: Final = 30
SYSTEMD_GRACE_SECONDS: Final = 90


class Process(NamedTuple):
    """A process as one artefact starts it."""

    command: list[str]
    environment: dict[str, str]
    grace_seconds: int


def procfile() -> dict[str, list[str]]:
    """Return the words of each command in the Procfile. A variable has its default."""
    lines = (line.partition(": ") for line in (ROOT / "Procfile").read_text().splitlines())
    return {name: shlex.split(_VARIABLE.sub(r"\2", command)) for name, _, command in lines}


@cache
def containerfile() -> dict[str, Process]:
    """Return command and environment of each target of the Containerfile that has a command."""
    text = re.sub(
        r"\\\n(?:\s*#.*\n)*", "", re.sub(r"^\s*#.*\n", "", (DEPLOY / "Containerfile").read_text(), flags=re.M)
    )
    environment = dict(
        word.partition("=")[::2] for word in shlex.split(re.findall(r"^ENV (.*)$", text, re.M)[0])
    )
    found = re.findall(r"^FROM base AS (\w+)$.*?^CMD (\[.*?\])$", text, re.M | re.S)
    return {name: Process(json.loads(command), environment, 0) for name, command in found}


def compose() -> dict[str, Process]:
    """Return the service's own processes in compose.yaml, with `release`, for the host name `DOMAIN`."""
    text = (DEPLOY / "compose.yaml").read_text()
    services = yaml.safe_load(
        _VARIABLE.sub(lambda found: found[2] if found[1] != "DOMAIN" else DOMAIN, text)
    )["services"]
    return {
        name: Process(
            service.get("command") or _image_of(name).command,
            _image_of(name).environment | {key: str(value) for key, value in service["environment"].items()},
            int(str(service.get("stop_grace_period", COMPOSE_GRACE_SECONDS)).removesuffix("s")),
        )
        for name, service in services.items()
        if service["image"].startswith("zekron-")
    }


def kubernetes() -> dict[str, Process]:
    """Return the processes of the Kubernetes base, with `release`. The patches that they share are not applied."""
    environment = dict(line.split("=", 1) for line in _lines(BASE / "environment"))
    processes = {}
    for name in ("release", *LONG_LIVED):
        pod = _load(BASE / f"{name}.yaml")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        image = _image_of(name)
        processes[name] = Process(
            container.get("command") or image.command,
            image.environment | environment,
            pod.get("terminationGracePeriodSeconds", KUBERNETES_GRACE_SECONDS) - _before_stop(container),
        )
    return processes


def systemd() -> dict[str, Process]:
    """Return the processes of the units, with `release`. `%i` stands for a GPU's number."""
    common = _read_unit(SYSTEMD / "zekron-.service.d" / "common.conf")["Service"]
    processes = {}
    for name in ("release", *LONG_LIVED):
        (path,) = SYSTEMD.glob(f"zekron-{name}*.service")
        service = _read_unit(path)["Service"]
        pairs = shlex.split(" ".join(service["Environment"] + common["Environment"]))
        (command,) = service["ExecStart"]
        processes[name] = Process(
            shlex.split(command.replace("%%", "%")),
            dict(pair.split("=", 1) for pair in pairs),
            int((service["TimeoutStopSec"] or [str(SYSTEMD_GRACE_SECONDS)])[0]),
        )
    return processes


def credentials() -> dict[str, str]:
    """Return the file of each credential that the units load."""
    loaded = _read_unit(SYSTEMD / "zekron-.service.d" / "common.conf")["Service"]["LoadCredential"]
    return dict(each.split(":", 1) for each in loaded)


def _image_of(name: str) -> Process:
    return containerfile()["gpu" if name == "gpu" else "web"]


def _before_stop(container: dict[str, Any]) -> int:
    """Return the seconds of a preStop hook, which count in the period of grace."""
    hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
    return int(hook[1])


def _load(path: Path) -> Any:
    """Return the first document of a file in YAML."""
    return next(iter(yaml.safe_load_all(path.read_text())))


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def _read_unit(path: Path) -> dict[str, defaultdict[str, list[str]]]:
    """Return the values of each key in each section. A key may occur several times."""
    sections: dict[str, defaultdict[str, list[str]]] = {}
    for line in _lines(path):
        if section := re.fullmatch(r"\[(\w+)\]", line):
            current = sections.setdefault(section[1], defaultdict(list))
        else:
            key, _, value = line.partition("=")
            current[key].append(value)
    return sections
