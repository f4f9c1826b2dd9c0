"""The preparation of a stack's database: migrations first, then an account with a key and an owner."""

from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from billing import keys, memberships
from tests import processes
from zekron_api.local import commands, preparation
from zekron_api.local.preparation import PreparationFailed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, objects_folder: Path) -> None:
    """Have started processes use the database of the test."""
    for name, value in processes.variables(8000, objects_folder).items():
        monkeypatch.setenv(name, value)


def test_a_migrated_database_gets_an_account_whose_key_works(variables: None, tmp_path: Path) -> None:
    with preparation.started(account_name="demo 1", log=tmp_path / "log" / "preparation.log") as preparing:
        preparing.wait_for_migrations()
        key, link = preparing.wait_for_key(), preparing.wait_for_link()
    account = keys.authenticate(text=key).account
    [membership] = memberships.list_of_account(account_id=account.pk)
    assert (membership.user.username, membership.role) == ("demo", "owner")
    assert (
        Client().post(link.removeprefix("http://localhost:8000")).headers["Location"]
        == f"/console/{account.pk}/"
    )
    assert (account.name, account.balance_micros) == ("demo 1", 10_000_000)
    assert preparing.process.returncode is not None


def test_a_database_that_cannot_be_prepared_is_an_error_with_its_reason(
    variables: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = settings.DATABASES["default"]["NAME"]
    monkeypatch.setenv("DATABASE_URL", processes.database_url().replace(name, "there_is_none"))
    with (
        preparation.started(account_name="demo", log=tmp_path / "log") as preparing,
        pytest.raises(PreparationFailed, match='database "there_is_none" does not exist'),
    ):
        preparing.wait_for_migrations()


def test_a_database_that_lacks_one_migration_of_a_package_is_known_without_django(tmp_path: Path) -> None:
    url = processes.database_url()
    assert preparation.has_all_migrations(url)
    folder = tmp_path / "workers" / "migrations"
    folder.mkdir(parents=True)
    (folder / "0001_initial.py").touch()
    assert preparation.has_all_migrations(url, project=tmp_path)
    (folder / "9999_later.py").touch()
    assert not preparation.has_all_migrations(url, project=tmp_path)


def test_a_database_without_migrations_or_that_is_not_there_has_none() -> None:
    url = processes.database_url()
    assert not preparation.has_all_migrations(
        f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3Dpg_temp"
    )
    name = settings.DATABASES["default"]["NAME"]
    assert not preparation.has_all_migrations(url.replace(name, "there_is_none"))


def test_a_preparation_that_nobody_waits_for_has_ended_after_the_block(
    variables: None, tmp_path: Path
) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        preparation.started(account_name="demo", log=tmp_path / "log") as preparing,
    ):
        raise ZeroDivisionError
    assert not commands.command_line(preparing.process.pid)
