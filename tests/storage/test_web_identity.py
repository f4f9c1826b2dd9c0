"""Credentials of a bucket by web identity: a token in a file, which a service exchanges for credentials that end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile

from storage import s3_store
from storage.s3_store import S3Store
from tests.storage import s3, token_service
from tests.storage.conftest import bytes_of
from tests.storage.s3 import OBJECT, refusals
from zekron_api.config.storage_url import object_store

pytestmark = pytest.mark.processes
FIRST, SECOND = ("first", "the secret of the first"), ("second", "the secret of the second")


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the file of the token and name it in the environment, which has no other credentials."""
    file = tmp_path / "token"
    file.write_text("token 1")
    for name in s3.CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(file))
    monkeypatch.setenv("AWS_ROLE_ARN", token_service.ROLE)
    return file


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[token_service.TokenService]:
    """Run the service of tokens, which gives out the first login and then the second."""
    with token_service.running([FIRST, SECOND]) as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service.url)
        yield service


@pytest.fixture
def bucket_server(tmp_path: Path) -> Iterator[s3.Server]:
    """Run an S3 server that knows both logins and no other."""
    with s3.server(tmp_path, logins=[FIRST, SECOND]) as server:
        yield server


@pytest.fixture
def store(token: Path, service: token_service.TokenService, bucket_server: s3.Server) -> S3Store:
    """Return a store as the settings make it from the URL."""
    del token, service
    options: Any = object_store(bucket_server.url("prefix"))["OPTIONS"]
    return S3Store(**options)


def test_credentials_that_end_are_exchanged_for_others_while_the_store_is_used(
    store: S3Store, token: Path, service: token_service.TokenService
) -> None:
    used: list[str] = []
    store.connection.meta.client.meta.events.register(
        "before-send.s3", lambda request, **_: used.append(_key_of(request))
    )
    store.save(OBJECT, ContentFile(b"sealed"))
    # Kubernetes replaces the file before its token ends.
    token.write_text("token 2")
    assert bytes_of(store, OBJECT) == b"sealed"
    assert service.asked == [(token_service.ROLE, "token 1"), (token_service.ROLE, "token 2")]
    assert used == ["first", "second"]


def test_a_token_that_is_gone_is_a_failure_of_the_store_and_no_missing_object(
    store: S3Store, token: Path
) -> None:
    store.save(OBJECT, ContentFile(b"sealed"))
    token.unlink()
    assert set(refusals(store).values()) == {"FileNotFoundError"}


def test_a_service_of_tokens_that_says_nothing_delays_a_request_by_the_bounds_of_the_bucket(
    token: Path,
    service: token_service.TokenService,
    bucket_server: s3.Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del token
    monkeypatch.setattr(s3_store, "READ_SECONDS", 0.1)
    service.released.clear()
    options: Any = object_store(bucket_server.url("prefix"))["OPTIONS"]
    with pytest.raises(s3_store.ObjectStoreFailed, match="ReadTimeoutError"):
        S3Store(**options).delete(OBJECT)
    assert len(service.asked) == s3_store.MAX_ATTEMPT_COUNT


def _key_of(request: Any) -> str:
    _, _, rest = request.headers["Authorization"].decode().partition("Credential=")
    return str(rest.partition("/")[0])
