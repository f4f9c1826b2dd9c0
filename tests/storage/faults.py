"""Faults of a store from outside: its disk is full, or its server stands still."""

import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest
from django.core.files.storage import storages
from pytest_django import Settings

from storage import s3_store
from storage.s3_store import S3Store
from tests.storage import s3
from zekron_api.config.storage_url import object_store


@contextmanager
def files_of_at_most(byte_count: int) -> Iterator[None]:
    """As a disk that is full: the kernel writes so much of a file and refuses the rest."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def standing_still(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Stop the process while the block runs; whoever connects to it is let in and gets no answer."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@contextmanager
def hanging(server: s3.Server, settings: Settings) -> Iterator[S3Store]:
    """Stop the server, and let the store that the settings name wait for a tenth of a second, three times.

    Before and after the block the store is patient, whatever the machine that runs the tests is busy with.
    """
    patient = settings.STORAGES
    with pytest.MonkeyPatch.context() as patched, standing_still(server.process):
        patched.setattr(s3_store, "READ_SECONDS", 0.1)
        settings.STORAGES = {**patient, "objects": object_store(server.url("prefix"))}
        try:
            yield cast(S3Store, storages["objects"])
        finally:
            settings.STORAGES = patient
