"""A new master key for keys that are wrapped already, while everything else goes on."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.files.storage import Storage
from django.core.management import call_command
from django.db import connection
from pytest_django import Settings

from storage import images, keyring, rotation
from storage.models import StoredImage
from tests.storage.conftest import LATER

Store = Callable[..., StoredImage]

pytestmark = pytest.mark.django_db(transaction=True)

NEW, LOST = b"n" * 32, b"l" * 32


@pytest.fixture
def objects(files: Storage) -> Storage:
    """Files: what is in the store takes no part."""
    return files


@pytest.fixture
def add_new(settings: Settings) -> Callable[[], None]:
    """Put another key first on the ring."""

    def add() -> None:
        settings.MASTER_KEYS = {"new": NEW, **settings.MASTER_KEYS}

    return add


def rotate() -> tuple[int, list[str], list[str]]:
    """Run the command, and return its exit status, what it prints and what it complains of."""
    out, err = StringIO(), StringIO()
    try:
        call_command("rotate_master_key", stdout=out, stderr=err)
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue().splitlines(), err.getvalue().splitlines()
    return 0, out.getvalue().splitlines(), err.getvalue().splitlines()


def test_every_live_key_is_rewrapped_and_then_the_old_master_key_can_go(
    stored: Store, add_new: Callable[[], None], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "BATCH_ROWS", 2)
    before = [stored(content=b"image %d" % number) for number in range(5)]
    images.destroy_keys(image_ids=[before.pop().pk])
    add_new()
    after = stored(content=b"image 4")
    assert rotate() == (0, ["5 live keys, 4 of them rewrapped by new", "old is no longer needed"], [])
    settings.MASTER_KEYS = {"new": NEW}
    assert [images.load(image=image) for image in [*before, after]] == [
        b"image %d" % number for number in range(5)
    ]


def test_a_second_rotation_changes_nothing(stored: Store, add_new: Callable[[], None]) -> None:
    image = stored()
    add_new()
    rotate()
    image.refresh_from_db()
    assert rotate() == (0, ["1 live keys, 0 of them rewrapped by new", "old is no longer needed"], [])
    again = StoredImage.objects.get()
    assert (again.master_key_id, again.wrapped_key) == ("new", image.wrapped_key)


def test_with_one_master_key_there_is_nothing_to_do(stored: Store) -> None:
    stored()
    assert rotate() == (0, ["1 live keys, 0 of them rewrapped by old"], [])


def test_a_key_that_no_master_key_opens_is_told_and_the_others_are_rewrapped(
    stored: Store, add_new: Callable[[], None], settings: Settings
) -> None:
    fine = stored()
    settings.MASTER_KEYS = {"lost": LOST}
    lost = stored()
    settings.MASTER_KEYS = {"old": bytes(range(32))}
    add_new()
    code, out, err = rotate()
    assert (code, err) == (1, [f"image {lost.pk}: no master key opens it"])
    assert out == ["2 live keys, 1 of them rewrapped by new", "old is no longer needed"]
    fine.refresh_from_db()
    lost.refresh_from_db()
    assert (fine.master_key_id, lost.master_key_id) == ("new", "lost")


def test_a_key_under_the_name_of_the_first_that_another_one_wrapped_is_found_and_rewrapped(
    stored: Store, settings: Settings
) -> None:
    image = stored()
    settings.MASTER_KEYS = {"old": NEW, "before": bytes(range(32))}
    with pytest.raises(images.ImageUnreadable):
        images.load(image=image)
    assert rotate()[1][0] == "1 live keys, 1 of them rewrapped by old"
    assert images.load(image=image) == b"an image"


def test_what_is_recorded_under_an_old_master_key_after_the_rotation_is_counted(
    stored: Store, add_new: Callable[[], None], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored()
    old_ring = settings.MASTER_KEYS
    add_new()
    really_rotate = rotation.rotate

    def rotate_beside_a_process_that_was_not_restarted() -> rotation.Rotation:
        rotated, settings.MASTER_KEYS = really_rotate(), old_ring
        stored()
        add_new()
        return rotated

    monkeypatch.setattr(rotation, "rotate", rotate_beside_a_process_that_was_not_restarted)
    assert rotate()[1] == ["1 live keys, 1 of them rewrapped by new", "old still wraps 1 keys"]


@pytest.mark.parametrize("destroy", ["destroy_keys", "purge"])
def test_a_key_that_is_destroyed_meanwhile_stays_destroyed(
    stored: Store, add_new: Callable[[], None], monkeypatch: pytest.MonkeyPatch, destroy: str
) -> None:
    image, really_wrap = stored(), keyring.wrap
    add_new()

    def wrap(*, content_key: bytes) -> keyring.WrappedKey:
        # Between the reading of the row and its update.
        if destroy == "purge":
            images.purge(now=LATER)
        else:
            images.destroy_keys(image_ids=[image.pk])
        return really_wrap(content_key=content_key)

    monkeypatch.setattr(keyring, "wrap", wrap)
    assert rotate() == (0, ["1 live keys, 0 of them rewrapped by new", "old is no longer needed"], [])
    image.refresh_from_db()
    assert (image.wrapped_key, image.master_key_id) == (None, "old")


def test_images_are_read_put_and_purged_while_keys_are_rewrapped(
    stored: Store, add_new: Callable[[], None]
) -> None:
    living = [stored(content=b"image %d" % number) for number in range(60)]
    doomed = [stored() for _ in range(20)]
    add_new()

    def apart(work: Callable[[], Any]) -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        rotations = [pool.submit(apart, rotation.rotate) for _ in range(2)]
        ends = [pool.submit(apart, partial(images.destroy_keys, image_ids=[image.pk])) for image in doomed]
        puts = [pool.submit(apart, stored) for _ in range(10)]
        reads = [pool.submit(apart, partial(images.load, image=image)) for image in living]
        assert [read.result() for read in reads] == [b"image %d" % number for number in range(60)]
        assert all(end.result() is None for end in ends)
        assert 60 <= sum(ended.result().rewrapped_count for ended in rotations) <= 80
        assert [images.load(image=put.result()) for put in puts] == [b"an image"] * 10
    assert rotation.live_counts() == {"new": 70}
    assert StoredImage.objects.filter(wrapped_key=None).count() == 20


def test_the_order_of_the_ring_does_not_matter_to_who_opens() -> None:
    wrapped = keyring.wrap(content_key=bytes(32)).wrapped_key
    assert keyring.unwrap_by_any(master_key_id="gone", wrapped_key=wrapped) == ("old", bytes(32))
    with pytest.raises(keyring.KeyRefused):
        keyring.unwrap_by_any(master_key_id="old", wrapped_key=wrapped[:-1] + b"?")
