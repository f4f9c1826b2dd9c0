"""Keys, tokens, prompts and images are looked for wherever they must not be: logs at DEBUG, Redis, rows, and errors."""

import base64
import io
import json
import logging
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connections
from django.test import Client
from django.utils.log import AdminEmailHandler
from PIL import Image
from pytest_django import Settings

from billing import keys
from tests import factories
from tests.browsers import sign_in
from tests.zekron_api.callers import Caller
from workers import tasks
from workers.engine.interface import ImageOrder, StepCallback
from workers.gpu_worker import attempt, process
from workers.messaging import enqueue
from workers.messaging.redis_client import connection as broker
from workers.models import MAX_ATTEMPTS, Generation
from zekron_api.ops.log_redaction import LineFormatter

pytestmark = pytest.mark.django_db(transaction=True)

LOUD = ["", "django", "django.request", "django.db.backends", "celery", "kombu", "redis", "uvicorn"]
LOUD += ["celery.app.trace", "celery.worker.strategy"]
OURS = ["zekron_api", "workers", "billing", "storage"]
IMAGE_DESCRIPTION = 0x010E
# The fixture `engine` puts a worker in the place of this one.
SEND_OVER_REDIS = enqueue.send


class Canaries(NamedTuple):
    """Secrets that a test sends in and that nothing may show again."""

    prompt: str
    key: str
    metadata: str
    source: str

    def seen_in(self, text: str, *more: str) -> set[str]:
        """Return the canaries that are in this text."""
        pieces = {*self, self.source[40:80], self.key[12:-4], *more}
        return {piece for piece in pieces if piece in text}


@pytest.fixture
def canaries(me: Caller) -> Canaries:
    """Return a key, a prompt, a source image and a text in its metadata, all of which are unique."""
    metadata = f"metadata-{secrets.token_hex(8)}"
    exif = Image.Exif()
    exif[IMAGE_DESCRIPTION] = metadata
    out = io.BytesIO()
    noise = Image.frombytes("RGB", (64, 64), secrets.token_bytes(3 * 64 * 64))
    noise.save(out, "JPEG", exif=exif, comment=metadata)
    source = base64.b64encode(out.getvalue()).decode()
    return Canaries(f"prompt-{secrets.token_hex(8)}", me.key, metadata, source)


@pytest.fixture
def heard() -> Iterator[io.StringIO]:
    """Return what the service's own handler writes while every logger says all that it can."""
    [ours] = [handler for handler in logging.root.handlers if type(handler.formatter) is LineFormatter]
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(ours.formatter)
    loggers = [logging.getLogger(name) for name in LOUD + OURS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    logging.root.addHandler(handler)
    yield out
    logging.root.removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def everything_in_redis() -> str:
    """Each key and value of the test's database, the queues of Celery included."""
    client = broker()
    readers: dict[Any, Callable[[Any], Any]] = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"stream": client.xrange,
    }
    lines = [f"{key!r} {readers[client.type(key)](key)!r}" for key in client.scan_iter()]
    # A message's body is base64 in the message.
    for message in client.lrange("gpu", 0, -1):
        lines.append(base64.b64decode(json.loads(message)["body"]).decode())
    return "\n".join(lines)


def failing_row(generation_id: int) -> None:
    """Has PostgreSQL refuse a change of the row, which it quotes in its message with the prompt."""
    Generation.objects.filter(pk=generation_id).update(attempt_count=99)


@pytest.fixture
def over_redis(monkeypatch: pytest.MonkeyPatch, engine: factories.StandInEngine) -> factories.StandInEngine:
    """Return the worker in this process, whose messages go to Redis as well."""
    to_worker = enqueue.send

    def send(*, generation_id: int) -> None:
        SEND_OVER_REDIS(generation_id=generation_id)
        to_worker(generation_id=generation_id)

    monkeypatch.setattr(enqueue, "send", send)
    return engine


def test_what_succeeds_leaves_no_canary_in_logs_or_redis(
    me: Caller, stranger: Caller, canaries: Canaries, heard: io.StringIO, over_redis: factories.StandInEngine
) -> None:
    edit = {"prompt": canaries.prompt, "images": [{"data": canaries.source}]}
    reply = me.generate(**edit).json()["data"]
    assert me.generate(prompt=canaries.prompt).status_code == 200
    assert me.get(f"/v1/images/{reply['token']}").status_code == 200
    assert stranger.get(f"/v1/images/{reply['token']}").status_code == 403
    assert canaries.prompt in me.get("/v1/generations").content.decode()
    made = reply["image"]["b64_json"]
    assert '"generation_id":' in everything_in_redis()
    assert "completed at attempt 1" in heard.getvalue()
    text = heard.getvalue() + everything_in_redis()
    assert canaries.seen_in(text, reply["token"], made[:60], made[-60:]) == set()


def test_what_is_refused_leaves_no_canary_in_logs_or_redis(
    me: Caller, canaries: Canaries, heard: io.StringIO, idle_worker: None, settings: Settings
) -> None:
    token = secrets.token_hex(32)
    authorized = {"Authorization": f"Bearer {canaries.key}"}
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100_000
    for body in (
        {"prompt": canaries.prompt * 300},
        {"prompt": canaries.prompt, "model": canaries.prompt},
        {"prompt": canaries.prompt, "size": canaries.prompt},
        {"prompt": canaries.prompt, "images": canaries.source},
        {"prompt": canaries.prompt, "images": [{"data": canaries.source[:-7]}]},
        {"prompt": canaries.prompt, "images": [{"data": canaries.source[: len(canaries.source) // 8 * 4]}]},
        {"prompt": canaries.prompt, "images": [{"data": canaries.source}] * 3},
        {"prompt": canaries.prompt * 9000},
    ):
        assert 400 <= me.post("/v1/generate", body).status_code < 500
    for content in (f'{{"prompt": "{canaries.prompt}"', f'{{"prompt": "{canaries.prompt}\ud800"}}', "[" * 50):
        raw = content.encode("utf-8", "surrogatepass")
        assert me.post("/v1/generate", raw).status_code == 400
    for path in (
        f"/v1/images/{token}",
        f"/v1/imagez/{token}",
        f"/v1/images/{token}%00",
        f"/{canaries.key}",
        f"/v1/balance/?key={canaries.key}",
        f"/v1/generations?limit={canaries.key}",
    ):
        assert 400 <= me.get(path).status_code < 500
        assert 400 <= me.post(path, {"prompt": canaries.prompt}).status_code < 500
        assert 400 <= Client(headers={"Host": "evil.example", **authorized}).get(path).status_code < 500
    other = f"zk_live_{secrets.token_hex(23)}"
    for header in (f"Bearer {other}", f"Basic {other}", other, f"Bearer {other} {canaries.key}"):
        assert Client().get("/v1/balance", headers={"Authorization": header}).status_code == 401
    assert heard.getvalue().count("\n") > 40
    assert canaries.seen_in(heard.getvalue() + everything_in_redis(), token, other) == set()


@pytest.mark.parametrize("where", ["balance_reply", "history_reply"])
def test_an_exception_in_a_view_leaves_its_frames_and_no_canary(
    me: Caller, canaries: Canaries, heard: io.StringIO, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def broken(*_: Any) -> None:
        try:
            failing_row(generation.pk)
        except IntegrityError as error:
            raise RuntimeError(f"{canaries.key} asked for {canaries.prompt}") from error

    generation = factories.submit(me.account, prompt=canaries.prompt)
    with pytest.raises(IntegrityError, match=canaries.prompt):
        failing_row(generation.pk)
    monkeypatch.setattr(f"zekron_api.endpoints.response_bodies.{where}", broken)
    response = me.get("/v1/balance" if where == "balance_reply" else "/v1/generations")
    assert response.status_code == 500
    assert canaries.seen_in(response.content.decode()) == set()
    text = heard.getvalue()
    assert "in failing_row" in text
    assert "IntegrityError: 23514 workers_generation generation_attempts_capped" in text
    assert "\nRuntimeError\n" in text
    assert canaries.seen_in(text + everything_in_redis()) == set()


@pytest.mark.parametrize("kind", ["of the database", "of a library"])
def test_an_exception_in_an_attempt_leaves_no_canary_in_logs_rows_or_redis(
    me: Caller, canaries: Canaries, heard: io.StringIO, kind: str
) -> None:
    generation = factories.submit(me.account, prompt=canaries.prompt, now=None)

    class Broken(factories.StandInEngine):
        def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
            if kind == "of a library":
                raise ValueError(f"cannot read {orders[0].prompt!r}")
            try:
                failing_row(generation.pk)
            finally:
                connections.close_all()
            raise AssertionError("the database took the row")

    with factories.attempt_context(Broken()) as context:
        for _ in range(MAX_ATTEMPTS):
            Generation.objects.filter(pk=generation.pk).update(not_before=factories.NOW)
            attempt.run_next(context=context)
    row: dict[str, Any] = {**Generation.objects.values().get(pk=generation.pk)}
    assert row.pop("prompt") == canaries.prompt
    assert "IntegrityError" in heard.getvalue() or row["error_detail"] == "ValueError"
    assert canaries.seen_in(heard.getvalue() + everything_in_redis() + str(row)) == set()


def test_a_batch_that_fails_leaves_no_canary_in_the_log(
    me: Caller, canaries: Canaries, heard: io.StringIO
) -> None:
    poison = ValueError(f"cannot read {canaries.prompt}")
    engine = factories.StandInEngine(poison, poison, poison)
    for _ in "ab":
        factories.submit(me.account, prompt=canaries.prompt, now=None)
    with factories.attempt_context(engine) as context:
        factories.at_once(2, lambda _: attempt.run_next(context=context))
    assert "attempt 1 failed" in heard.getvalue()
    assert canaries.seen_in(heard.getvalue()) == set()


def test_a_task_that_fails_in_celery_leaves_no_canary_in_the_log(
    me: Caller, canaries: Canaries, heard: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> None:
        raise ValueError(f"cannot read {canaries.prompt}")

    monkeypatch.setattr(process, "get_current", broken)
    assert isinstance(tasks.generate.apply(kwargs={"generation_id": 1}).result, ValueError)
    assert "raised unexpected: ValueError" in heard.getvalue()
    assert canaries.seen_in(heard.getvalue()) == set()


def test_nothing_mails_or_shows_the_local_variables_of_an_exception(settings: Settings) -> None:
    loggers = [logging.root, *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
    handlers = [handler for logger in loggers for handler in logger.handlers]
    assert not any(isinstance(handler, AdminEmailHandler) for handler in handlers)
    assert settings.DEBUG is False


@pytest.mark.processes
def test_the_servers_own_log_of_requests_is_off_because_it_has_tokens() -> None:
    code = """
import logging, uvicorn
uvicorn.Config("zekron_api.asgi:application").load()
print(logging.getLogger("uvicorn.access").hasHandlers(), logging.getLogger("uvicorn.error").hasHandlers())
print({type(handler.formatter).__name__ for handler in logging.root.handlers})
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False", "True", "{'LineFormatter'}"]


def test_a_new_key_of_the_admin_is_in_no_log_and_not_in_redis(
    me: Caller, heard: io.StringIO, admin_user: User
) -> None:
    admin_client = sign_in(Client(), admin_user)
    form = {"account": me.account.pk, "name": "x", "scopes": ["read"], "spend_period": "month"}
    page = admin_client.post("/admin/billing/apikey/add/", form).content.decode()
    text = page.partition('<code id="key">')[2].partition("<")[0]
    assert keys.authenticate(text=text).account == me.account
    assert text[12:-4] not in heard.getvalue() + everything_in_redis()
