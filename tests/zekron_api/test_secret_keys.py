"""A secret key can be exchanged: what the former one made is still recognised, and the next use renews it."""

from typing import Any

import pytest
from django.core.management import call_command
from pytest_django import Settings

from billing import key_changes, keys, secret_keys
from billing.grants import Grants
from billing.models import ApiKey
from tests import factories
from tests.assertions import refusal
from tests.zekron_api.callers import Caller
from workers.lifecycle import image_tokens
from workers.models import Generation
from zekron_api.endpoints import submission

pytestmark = pytest.mark.django_db(transaction=True)
NEW = "a new secret key of the service, which is long enough for it"
NEWER = "an even newer secret key of the service, also long enough for it"
SDK_RETRY = {"X-Stainless-Retry-Count": "1"}


def exchange(settings: Settings, *secrets: str, keeps: bool = True) -> None:
    """Make the last of these the present secret key, and the ones before it former ones."""
    for secret in secrets:
        former = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS] if keeps else []
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = secret, former


def count() -> list[int]:
    return keys.count_by_secret_key()


def test_the_ring_begins_with_the_present_secret_key(settings: Settings) -> None:
    first = settings.SECRET_KEY
    exchange(settings, NEW, NEWER)
    assert secret_keys.with_each(str) == [NEWER, NEW, first]


def test_an_api_key_of_a_former_secret_key_works_and_its_next_use_renews_it(
    me: Caller, settings: Settings
) -> None:
    before = ApiKey.objects.get()
    exchange(settings, NEW, NEWER)
    assert count() == [0, 0, 1, 0]
    assert keys.find(text=me.key) == before
    assert me.get("/v1/balance").status_code == 200
    assert count() == [1, 0, 0, 0]
    after = ApiKey.objects.get()
    assert (after.pk, after.digest) == (before.pk, keys.digest(me.key))
    settings.SECRET_KEY_FALLBACKS = []
    assert me.get("/v1/balance").status_code == 200


def test_the_former_text_of_a_rotated_key_needs_its_secret_key_until_it_is_used(
    me: Caller, settings: Settings
) -> None:
    key, text = key_changes.rotate(key_id=ApiKey.objects.get().pk)
    assert count() == [2, 0]
    exchange(settings, NEW)
    assert count() == [0, 2, 0]
    assert keys.find(text=me.key) == key
    assert me.get("/v1/balance").status_code == 200
    assert count() == [1, 1, 0]
    assert keys.authenticate(text=text).id == key.pk
    assert count() == [2, 0, 0]
    settings.SECRET_KEY_FALLBACKS = []
    for each in (me.key, text):
        assert keys.authenticate(text=each).id == key.pk


def test_an_api_key_that_was_never_renewed_is_invalid_without_its_secret_key(
    me: Caller, settings: Settings
) -> None:
    exchange(settings, NEW, keeps=False)
    assert count() == [0, 1]
    assert refusal(me.get("/v1/balance")) == (401, "invalid_api_key")
    assert count() == [0, 1]


def test_a_key_of_an_older_release_is_known_from_its_next_use_on(me: Caller) -> None:
    ApiKey.objects.update(pepper="")
    assert count() == [0, 1]
    assert me.get("/v1/balance").status_code == 200
    assert count() == [1, 0]


def test_revoked_and_expired_keys_need_no_secret_key(me: Caller, settings: Settings) -> None:
    ended, _ = keys.issue(account_id=me.account.pk)
    keys.revoke(key_id=ended.pk)
    keys.issue(account_id=me.account.pk, grants=Grants(expires_at=factories.NOW))
    assert count() == [1, 0]


def test_an_image_keeps_its_token(me: Caller, engine: factories.StandInEngine, settings: Settings) -> None:
    old = me.generate().json()["data"]["token"]
    exchange(settings, NEW)
    new = me.generate().json()["data"]["token"]
    told = [row["token"] for row in me.get("/v1/generations").json()["data"]["generations"]]
    assert told == [new, old]
    for token in (old, new):
        assert me.get(f"/v1/images/{token}").status_code == 200
    first = Generation.objects.earliest("pk")
    assert image_tokens.token_of(generation_id=first.pk) != old


def test_a_request_under_its_key_of_idempotency_is_recognised(
    me: Caller, engine: factories.StandInEngine, settings: Settings
) -> None:
    def ask(prompt: str) -> Any:
        body = {"prompt": prompt, "size": "512x512"}
        return me.post("/v1/generate", body, **{"Idempotency-Key": "order-7"})

    first = ask("a boat").json()["data"]
    exchange(settings, NEW)
    again = ask("a boat")
    assert (again.headers["Idempotent-Replayed"], again.json()["data"]["id"]) == ("true", first["id"])
    assert refusal(ask("a house")) == (422, "idempotency_mismatch")
    assert Generation.objects.count() == 1


def test_the_retry_of_a_client_that_was_lost_before_finds_its_image(
    me: Caller, engine: factories.StandInEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []
    make = submission._retry_digests

    def keep(*given: Any) -> list[str]:
        lost.extend(make(*given))
        return make(*given)

    monkeypatch.setattr(submission, "_retry_digests", keep)
    first = me.generate().json()["data"]
    Generation.objects.update(client_lost_at="2999-01-01T00:00:00Z", lost_digest=lost[0])
    exchange(settings, NEW)
    body = {"prompt": "a boat", "size": "512x512"}
    again = me.post("/v1/generate", body, **SDK_RETRY)
    assert (again.headers["X-Zekron-Retry-Attached"], again.json()["data"]["id"]) == ("true", first["id"])
    assert Generation.objects.count() == 1


def test_the_command_says_which_secret_keys_are_needed(
    me: Caller, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("list_secret_keys")
    assert capsys.readouterr().out == "SECRET_KEY: 1 live API keys\n"
    keys.issue(account_id=me.account.pk)
    ApiKey.objects.filter(pk=ApiKey.objects.latest("pk").pk).update(pepper="")
    exchange(settings, NEW)
    with pytest.raises(SystemExit) as ended:
        call_command("list_secret_keys")
    assert ended.value.code == 1
    assert capsys.readouterr().out == (
        "SECRET_KEY: 0 live API keys\n"
        "SECRET_KEY_FALLBACKS, number 1: 1 live API keys\n"
        "not known until their next use: 1 live API keys\n"
    )
    assert me.get("/v1/balance").status_code == 200


def test_the_command_counts_redemption_codes_which_nothing_renews(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    factories.redemption_code()
    exchange(settings, NEW)
    factories.redemption_code()
    with pytest.raises(SystemExit):
        call_command("list_secret_keys")
    assert capsys.readouterr().out == (
        "SECRET_KEY: 0 live API keys, 1 redemption codes\n"
        "SECRET_KEY_FALLBACKS, number 1: 0 live API keys, 1 redemption codes\n"
    )
    settings.SECRET_KEY_FALLBACKS = []
    call_command("list_secret_keys")
    assert capsys.readouterr().out.splitlines()[1:] == [
        "under no secret key, so nobody can redeem them: 1 redemption codes"
    ]
