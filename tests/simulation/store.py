"""An object store in memory, with gates before and after whatever it does."""

from datetime import datetime
from itertools import count
from pathlib import PurePosixPath
from typing import Any

from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage

from tests.simulation import actors, environment
from tests.simulation.faults import Fault

CONFIGURATION = {"BACKEND": "tests.simulation.store.Store"}


class StoreFailed(OSError):
    """The store did not do what it was asked for, or only half of it, or nobody knows."""


_stores = count(1)


class Objects:
    """Objects in the store of one simulation."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.saved_at: dict[str, datetime] = {}
        self._number = next(_stores)
        self._saved_count = 0

    def next_name(self, folder: str) -> str:
        """Return a name that no object of any scenario has had, ordered as they were saved."""
        self._saved_count += 1
        return f"{folder}/{self._number:08x}{self._saved_count:08x}"


def label_of(name: str) -> str:
    """Return an object's name in a trace, which is the same whenever the seed is."""
    return f"object {int(name[-8:], 16)}"


class Store(Storage):
    """Store of the simulation that is running. It names objects itself, so that a seed gives the same names."""

    def save(self, name: str, content: Any, max_length: int | None = None) -> str:
        """Keep the content under a name in the same folder."""
        objects = environment.current_run().objects
        struck = _gate("the store takes an object", Fault.BROKEN, Fault.UNANSWERED, Fault.SLOW)
        content_bytes = content.read()
        name = objects.next_name(name.rpartition("/")[0])
        torn = struck == Fault.BROKEN and environment.current_run().dice.random() < 0.5
        if struck != Fault.BROKEN or torn:
            objects.contents[name] = content_bytes[: len(content_bytes) // 2] if torn else content_bytes
            objects.saved_at[name] = environment.current_run().now
        _finish(struck, f"has {label_of(name)}")
        return name

    def open(self, name: str, mode: str = "rb") -> "File[bytes]":
        """Return the content; raise FileNotFoundError when there is none."""
        struck = _gate(f"the store is asked for {label_of(name)}", Fault.BROKEN, Fault.SLOW)
        content = environment.current_run().objects.contents.get(name)
        if content is None:
            raise FileNotFoundError(name)
        # Whoever deletes the object while the answer is on its way does not change it.
        _finish(struck, "answers")
        return ContentFile(content)

    def delete(self, name: str) -> None:
        """Delete the object, if there is one."""
        struck = _gate(f"the store deletes {label_of(name)}", Fault.BROKEN, Fault.UNANSWERED, Fault.SLOW)
        if struck != Fault.BROKEN:
            environment.current_run().before_delete(name)
            environment.current_run().objects.contents.pop(name, None)
        _finish(struck, "answers")

    def exists(self, name: str) -> bool:
        """Return whether there is such an object."""
        return name in environment.current_run().objects.contents

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Folders and objects right in a folder."""
        folder = PurePosixPath(path)
        inside = [PurePosixPath(name) for name in sorted(environment.current_run().objects.contents)]
        inside = [name.relative_to(folder) for name in inside if name.is_relative_to(folder)]
        folders = dict.fromkeys(name.parts[0] for name in inside if len(name.parts) > 1)
        return list(folders), [str(name) for name in inside if len(name.parts) == 1]

    def size(self, name: str) -> int:
        """Return how many bytes an object has."""
        return len(environment.current_run().objects.contents[name])

    def get_modified_time(self, name: str) -> datetime:
        """Return when an object was saved, by the simulator's clock."""
        return environment.current_run().objects.saved_at[name]


def _gate(what: str, *possible: Fault) -> Fault | None:
    actor = actors.current()
    if actor is None:
        return None
    struck = actor.gate(what, *possible)
    if struck == Fault.SLOW:
        actor.stall(actor.simulator.dice.randint(5, 60))
    return struck


def _finish(struck: Fault | None, answer: str) -> Any:
    if struck in {Fault.BROKEN, Fault.UNANSWERED}:
        raise StoreFailed
    _gate(f"the store {answer}")
