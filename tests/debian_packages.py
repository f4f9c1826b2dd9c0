"""Programs of Debian's packages, unpacked under `.venv/debian` without being installed.

A test that needs one skips itself where neither the system nor a package mirror has it.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest

_ROOT: Final = Path(__file__).resolve().parent.parent / ".venv" / "debian"
_SECONDS: Final = 120
_FOLDERS_OF_PROGRAMS: Final = ("usr/bin", "usr/sbin", "usr/libexec", "bin", "sbin")
_FOLDERS_OF_LIBRARIES: Final = (
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
)


class Program(NamedTuple):
    """A program and the environment in which it finds its libraries."""

    path: Path
    environment: Mapping[str, str]


def find_program(name: str, *, package: str, libraries: tuple[str, ...] = ()) -> Program:
    """Return an installed program, or that of an unpacked package with the packages of its libraries.

    Skip the test if there is neither.
    """
    if installed := shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
        return Program(Path(installed), dict(os.environ))
    folders = [_unpack(part) for part in (package, *libraries)]
    for folder in _FOLDERS_OF_PROGRAMS:
        if (path := folders[0] / folder / name).exists():
            return Program(path, {**os.environ, "LD_LIBRARY_PATH": _library_path(folders)})
    raise FileNotFoundError(f"{package} has no program {name}.")


@functools.cache
def _unpack(package: str) -> Path:
    """Return the folder of the unpacked package, downloaded at the first use."""
    folder = _ROOT / package
    if folder.exists():
        return folder
    if not shutil.which("apt-get"):
        pytest.skip(f"{package} is not installed, and there is no apt-get to download it.")
    # Tests in two processes may ask for one package at a time, and only a complete folder bears the last name.
    partial = _ROOT / f"{package}.{os.getpid()}"
    partial.mkdir(parents=True, exist_ok=True)
    try:
        if not _download(package, partial):
            # The lists of a fresh machine may be old or missing.
            _run("apt-get", "update", folder=partial)
            if not _download(package, partial):
                pytest.skip(f"{package} is not installed, and no mirror of Debian has it.")
        (archive,) = partial.glob("*.deb")
        if not _run("dpkg-deb", "-x", archive.name, ".", folder=partial):
            raise OSError(f"{archive.name} cannot be unpacked.")
        archive.unlink()
        _move(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _move(partial: Path, folder: Path) -> None:
    try:
        partial.rename(folder)
    except OSError:
        # The other process was faster.
        if not folder.exists():
            raise


def _download(package: str, folder: Path) -> bool:
    return _run("apt-get", "download", package, folder=folder) and any(folder.glob("*.deb"))


def _run(*command: str, folder: Path) -> bool:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _library_path(folders: list[Path]) -> str:
    found = [
        folder / part for folder in folders for part in _FOLDERS_OF_LIBRARIES if (folder / part).exists()
    ]
    return ":".join(map(str, found))
