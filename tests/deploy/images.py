"""Images of the Containerfile, built by buildah in a chroot on a base that mmdebstrap makes. No registry is asked.

The store of the images is under `var/`, and the base is kept there for the next time.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from tests.processes import ROOT, Server

_FOLDER: Final = ROOT / "var" / "images"
_BASE: Final = "localhost/zekron-base"
_RELEASE: Final = "bookworm"
_PACKAGES: Final = "ca-certificates,python3,python3-venv"
# The packages of the image `gpu` are gigabytes.
_BUILD_SECONDS: Final = 3600
# The network of this machine may have authorities and a package index of its own, which a build then needs too.
_OF_THE_MACHINE: Final = ("/etc/ssl/certs", "/etc/pip.conf")


def build(target: str) -> str:
    """Build a target of the Containerfile and return the image's name. Skip the test without the programs."""
    _require_programs()
    name = f"localhost/zekron-{target}"
    volumes = (f"--volume={path}:{path}:ro" for path in _OF_THE_MACHINE if Path(path).exists())
    _buildah(
        *("build", "--layers", "--pull-never", f"--build-arg=BASE={_base()}", *volumes),
        *(f"--file={ROOT / 'deploy' / 'Containerfile'}", f"--target={target}", f"--tag={name}", str(ROOT)),
    )
    return name


def inspect(name: str) -> dict[str, Any]:
    """Return the configuration of an image, with its size in megabytes."""
    (listed,) = json.loads(_buildah("images", "--json", name))
    number, unit = listed["size"].split()
    assert unit == "MB"
    config: dict[str, Any] = json.loads(_buildah("inspect", "--type=image", name))["OCIv1"]["config"]
    return config | {"megabytes": float(number)}


@contextmanager
def container(name: str) -> Iterator[str]:
    """Make a container of an image, and remove it with the block."""
    identifier = _buildah("from", "--pull-never", name).strip()
    try:
        yield identifier
    finally:
        _buildah("rm", identifier)


def command(
    container: str, words: Sequence[str], *, environment: Mapping[str, str], volumes: Sequence[str] = ()
) -> list[str]:
    """Return the command that runs the words in the container, as its user and in the network of this machine."""
    variables = (f"--env={name}={value}" for name, value in environment.items())
    return [
        *_program(),
        "run",
        *variables,
        *(f"--volume={each}" for each in volumes),
        container,
        "--",
        *words,
    ]


@contextmanager
def running(
    container: str, words: list[str], *, environment: Mapping[str, str], log: Path
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run the words in the container while the block runs, and kill what is left of them then."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(container, words, environment=environment), stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        for each in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
            each.kill()
        process.wait(timeout=30)
        sys.stderr.write(log.read_text())


def stop(process: "subprocess.Popen[bytes]") -> int:
    """Send SIGTERM to the first process of the container, and return the status of its end."""
    *_, first = psutil.Process(process.pid).children(recursive=True)
    first.send_signal(signal.SIGTERM)
    return process.wait(timeout=60)


def probe(environment: Mapping[str, str]) -> tuple[int, ...]:
    """Return the replies to the probes of liveness and readiness, as Kubernetes sends them."""
    inside = Server(f"http://127.0.0.1:{environment['METRICS_PORT']}", key="")
    return tuple(inside.ask(path).status for path in ("/healthz", "/readyz"))


def _require_programs() -> None:
    missing = [program for program in ("buildah", "mmdebstrap") if not shutil.which(program)]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found: `apt-get install buildah mmdebstrap`.")
    if os.geteuid():
        pytest.skip("An image is built in a chroot, which needs root.")


def _base() -> str:
    """Return the base image, made at the first call."""
    if not json.loads(_buildah("images", "--json", "--filter=reference=" + _BASE) or "[]"):
        archive = _FOLDER / "base.tar"
        program = shutil.which("mmdebstrap") or ""
        options = ("--quiet", "--variant=minbase", f"--include={_PACKAGES}")
        subprocess.run([program, *options, _RELEASE, archive], check=True, timeout=_BUILD_SECONDS)
        scratch = _buildah("from", "scratch").strip()
        _buildah("add", "--quiet", scratch, str(archive), "/")
        _buildah("commit", "--quiet", "--rm", scratch, _BASE)
        archive.unlink()
    return _BASE


def _program() -> list[str]:
    return ["buildah", f"--root={_FOLDER / 'storage'}", f"--runroot={_FOLDER / 'run'}"]


def _buildah(*arguments: str) -> str:
    _FOLDER.mkdir(parents=True, exist_ok=True)
    ended = subprocess.run(
        [*_program(), *arguments],
        env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
