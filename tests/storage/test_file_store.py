"""The store in a folder: an object has its name once it is whole and on the disk, or it has none."""

import os
import stat
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import Storage

from storage.file_store import PARTIAL_SUFFIX
from tests.storage.conftest import bytes_of, names
from tests.storage.faults import files_of_at_most

NAME = "2030/01/02/03/" + "ab" * 16
FOLDERS = ["2030/01/02/03", "2030/01/02", "2030/01", "2030", ""]


@pytest.fixture
def written_through(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, set[str]]]:
    """Each file or folder that was written to the disk, in turn, with the names that its folder then had."""
    seen: list[tuple[Path, set[str]]] = []
    really_sync = os.fsync

    def sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        seen.append((path, {name.name for name in (path if path.is_dir() else path.parent).iterdir()}))
        really_sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    return seen


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc")
def test_a_put_is_on_the_disk_before_it_has_its_name_and_its_name_before_it_returns(
    files: Storage, written_through: list[tuple[Path, set[str]]], tmp_path: Path
) -> None:
    files.save(NAME, ContentFile(b"bytes"))
    root, (folder, name) = tmp_path / "objects", NAME.rsplit("/", 1)
    assert [path for path, _ in written_through] == [
        root / (NAME + PARTIAL_SUFFIX),
        *(root / folder for folder in FOLDERS),
    ]
    assert [names for _, names in written_through[:2]] == [{name + PARTIAL_SUFFIX}, {name}]
    assert folder == FOLDERS[0]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc")
def test_the_folders_above_are_written_to_the_disk_once_and_again_where_they_are_made_anew(
    files: Storage, written_through: list[tuple[Path, set[str]]], tmp_path: Path
) -> None:
    root = tmp_path / "objects"

    def folders_of_a_put(name: str) -> list[str]:
        written_through.clear()
        files.save(name, ContentFile(b"bytes"))
        return [str(path.relative_to(root)) for path, _ in written_through[1:]]

    every = ["2030/01/02/03", "2030/01/02", "2030/01", "2030", "."]
    assert folders_of_a_put(NAME) == every
    assert folders_of_a_put(NAME[:-1] + "c") == every[:1]
    assert folders_of_a_put(NAME.replace("/03/", "/04/")) == [every[0].replace("/03", "/04"), *every[1:]]
    # Still there, so that no folder that is made anew gets its place on the device.
    (root / "2030").rename(root / "2031")
    assert folders_of_a_put(NAME) == every


def test_a_put_that_does_not_fit_leaves_nothing(files: Storage) -> None:
    with files_of_at_most(100_000), pytest.raises(OSError, match="File too large"):
        files.save(NAME, ContentFile(bytes(1_000_000)))
    assert names(files) == []
    files.save(NAME, ContentFile(b"fits"))
    assert bytes_of(files, NAME) == b"fits"


def test_a_put_that_does_not_reach_the_disk_leaves_nothing(
    files: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        files.save(NAME, ContentFile(b"bytes"))
    assert names(files) == []


def test_only_who_runs_the_service_may_look_at_objects(files: Storage, tmp_path: Path) -> None:
    files.save(NAME, ContentFile(b"bytes"))
    root = tmp_path / "objects"
    assert stat.S_IMODE((root / NAME).stat().st_mode) == 0o600
    assert {stat.S_IMODE((root / folder).stat().st_mode) for folder in FOLDERS} == {0o700}
