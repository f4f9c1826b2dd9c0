"""The limit of logins: whoever guesses passwords takes neither the processor nor the threads of the service."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from tests import processes
from tests.assertions import refusal
from tests.zekron_api import asgi_client
from tests.zekron_api.callers import Caller
from zekron_api.http import rate_limit
from zekron_api.waiting.asgi_handler import THREAD_COUNT

pytestmark = pytest.mark.django_db(transaction=True)
LOGIN = "/me/login/"
PASSWORD = "correct horse battery staple"
NOT_THE_PASSWORD = "wrong"
PATIENCE_SECONDS = 60


class CountingHasher(PBKDF2PasswordHasher):
    """A hasher that counts its hashes, and holds them back when it is told to."""

    algorithm = "counting"
    iterations = 1
    hashes = 0
    may_go_on = threading.Event()

    def encode(self, password: str, salt: str, iterations: int | None = None) -> Any:
        type(self).hashes += 1
        self.may_go_on.wait(PATIENCE_SECONDS)
        return super().encode(password, salt, iterations)


@pytest.fixture(autouse=True)
def counted(settings: Settings) -> None:
    """Count the hashes of a test from here on."""
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    settings.LOGINS_PER_MINUTE_OF_ADDRESS, settings.LOGINS_PER_MINUTE_OF_NAME, settings.LOGINS_PER_MINUTE = (
        3,
        5,
        8,
    )
    CountingHasher.may_go_on.set()
    User.objects.create_superuser("ada", password=PASSWORD)
    CountingHasher.hashes = 0


def login(*, address: str = "192.0.2.1", name: str = "ada", password: str = NOT_THE_PASSWORD) -> Any:
    data = {"login": name, "password": password}
    return Client().post(f"{LOGIN}?next=/admin/", data, REMOTE_ADDR=address)


def statuses(*logins: dict[str, str]) -> list[int]:
    return [login(**who).status_code for who in logins]


def test_the_defaults_leave_the_owner_of_a_name_a_way_in(settings: Settings) -> None:
    production = processes.ROOT.joinpath("zekron_api", "settings.py").read_text()
    limits = [int(found) for found in re.findall(r"^LOGINS_PER_MINUTE\w* = (\d+)$", production, re.M)]
    assert limits == sorted(set(limits))
    assert len(limits) == 3


def test_an_address_has_its_limit_whatever_names_it_tries(settings: Settings) -> None:
    tries = [{"name": f"name-{number}"} for number in range(6)]
    assert statuses(*tries) == [200, 200, 200, 429, 429, 429]
    assert CountingHasher.hashes == 3
    assert login(address="192.0.2.2", password=PASSWORD).status_code == 302


def test_a_refused_login_says_when_to_try_again_in_the_envelope(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [2_000_000_000.9]
    monkeypatch.setattr("time.time", lambda: clock[0])
    statuses(*[{"name": f"name-{number}"} for number in range(3)])
    clock[0] = 2_000_000_030.0
    refused = login()
    assert refusal(refused) == (429, "too_many_logins")
    seconds = int(refused["Retry-After"])
    assert seconds == 31
    assert refused.json()["error"]["message"] == f"Too many logins. Try again in {seconds} seconds."
    assert "sessionid" not in refused.cookies


@pytest.mark.parametrize(
    ("same", "other"),
    [
        (["2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1:8000::"], "2001:db8:0:2::1"),
        (["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"], "::ffff:192.0.2.2"),
        (["", "unknown", "/run/web.sock"], "192.0.2.1"),
    ],
)
def test_the_addresses_of_one_client_count_as_one(same: list[str], other: str) -> None:
    tries = [
        {"address": address, "name": f"name-{number}"} for number, address in enumerate([*same, same[0]])
    ]
    assert statuses(*tries) == [200, 200, 200, 429]
    assert login(address=other).status_code == 200


def test_a_name_has_its_limit_whatever_addresses_try_it() -> None:
    spellings = ["ada", "ADA", " ada ", "\uff41\uff44\uff41", "Ada", "ada"]
    tries = [{"address": f"192.0.2.{number}", "name": name} for number, name in enumerate(spellings)]
    assert statuses(*tries) == [200, 200, 200, 200, 200, 429]
    assert login(address="192.0.2.99", name="bob").status_code == 200


def test_one_address_cannot_keep_the_owner_of_a_name_out() -> None:
    statuses(*[{"name": "ada"}] * 20)
    assert login(address="192.0.2.2", password=PASSWORD).status_code == 302


def test_all_logins_together_have_a_limit() -> None:
    tries = [{"address": f"192.0.2.{number}", "name": f"name-{number}"} for number in range(10)]
    assert statuses(*tries) == [200] * 8 + [429] * 2
    assert CountingHasher.hashes == 8


def test_neither_the_form_nor_a_post_without_its_token_counts() -> None:
    for _ in range(10):
        assert Client().get(LOGIN).status_code == 200
        assert Client(enforce_csrf_checks=True).post(LOGIN, {"login": "ada"}).status_code == 403
    assert login(password=PASSWORD).status_code == 302


def test_a_lockout_of_an_ipv6_client_holds_for_its_network(settings: Settings) -> None:
    settings.LOGINS_PER_MINUTE_OF_ADDRESS = settings.LOGINS_PER_MINUTE_OF_NAME = (
        settings.LOGINS_PER_MINUTE
    ) = 100
    tries = [{"address": f"2001:db8::{number}"} for number in range(1, 7)]
    assert statuses(*tries) == [200, 200, 200, 200, 429, 429]
    assert login(address="2001:db8:0:1::1", password=PASSWORD).status_code == 302


def test_without_redis_each_process_limits_logins_by_itself(settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    address = "198.51.100.77"
    assert statuses(*[{"address": address, "name": f"away-{number}"} for number in range(4)]) == [
        200,
        200,
        200,
        429,
    ]


def test_logins_that_hash_take_one_thread_of_their_own(
    room: asgi_client.Served, me: Caller, settings: Settings
) -> None:
    settings.LOGINS_PER_MINUTE_OF_ADDRESS = settings.LOGINS_PER_MINUTE_OF_NAME = (
        settings.LOGINS_PER_MINUTE
    ) = 1000
    form = room.send("GET", LOGIN)
    token = re.search(rb'csrfmiddlewaretoken" value="([^"]+)', form.content)
    assert token is not None
    cookie = ("cookie", form["Set-Cookie"].split(";")[0])
    kind = ("content-type", "application/x-www-form-urlencoded")

    def guess(number: int) -> int:
        fields = {"csrfmiddlewaretoken": token[1].decode(), "login": f"u{number}", "password": "wrong"}
        return room.send("POST", LOGIN, [cookie, kind], urlencode(fields).encode()).status_code

    CountingHasher.may_go_on.clear()
    with ThreadPoolExecutor(4 * THREAD_COUNT) as clients, ExitStack() as at_the_end:
        # A test that fails does not hang.
        at_the_end.callback(CountingHasher.may_go_on.set)
        guessing = [clients.submit(guess, number) for number in range(4 * THREAD_COUNT)]
        processes.wait_until(lambda: CountingHasher.hashes)
        bearer = ("authorization", f"Bearer {me.key}")
        assert [room.send("GET", "/v1/balance", [bearer]).status_code for _ in range(5)] == [200] * 5
        assert room.send("GET", "/healthz").status_code == 200
        assert room.send("GET", LOGIN).status_code == 200
        hashing = [thread for thread in threading.enumerate() if thread.name.startswith("login")]
        assert (len(hashing), CountingHasher.hashes) == (1, 1)
        assert not any(guess.done() for guess in guessing)
        CountingHasher.may_go_on.set()
        assert {guess.result() for guess in guessing} == {200}


def test_what_is_kept_of_a_login_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    counted = rate_limit.count

    def count(item: Any, name: str) -> Any:
        kept.append(name)
        return counted(item, name)

    monkeypatch.setattr(rate_limit, "count", count)
    login(name="Somebody Known", password="a secret by mistake")
    assert len(kept) == 3
    assert not re.search("(?i)known|secret", " ".join(kept))
