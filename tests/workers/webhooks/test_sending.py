"""One attempt against real receivers: what counts as a success, and what a receiver cannot make it do."""

import asyncio
import ipaddress
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from tests import tls
from tests.workers.webhooks import receivers
from tests.workers.webhooks.receivers import Receiver
from workers.webhooks import addresses, sending
from workers.webhooks.sending import Outcome

LOOPBACK = ipaddress.ip_address("127.0.0.1")


def post(url: str, **headers: str) -> Outcome:
    return asyncio.run(sending.post(url=url, body=b'{"a":1}', headers={"webhook-id": "msg_1", **headers}))


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: Sequence[str]) -> list[str]:
    """Let each look-up have the next of these answers, the last one for ever; return the names that were looked up."""
    asked: list[str] = []

    def look_up(host: str, port: int) -> list[Any]:
        asked.append(host)
        return [ipaddress.ip_address(text) for text in answers[min(len(asked), len(answers)) - 1]]

    monkeypatch.setattr(addresses, "look_up", look_up)
    return asked


def test_a_post_has_what_it_was_given_and_little_else(receiver: Receiver) -> None:
    outcome = post(f"{receiver.url}?a=1&b=%20")
    assert (outcome.status, outcome.error, outcome.is_success) == (200, "", True)
    [got] = receiver.received
    assert (got.path, got.body) == ("/hook?a=1&b=%20", b'{"a":1}')
    assert got.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "content-length": "7",
        "connection": "close",
        "webhook-id": "msg_1",
    }


@pytest.mark.parametrize(
    ("status", "error"),
    [(200, ""), (202, ""), (204, ""), (299, ""), (400, "status"), (410, "status"), (500, "status")],
)
def test_every_2xx_is_a_success_and_nothing_else(receiver: Receiver, status: int, error: str) -> None:
    receiver.reply = receivers.status(status, body=b"")
    outcome = post(receiver.url)
    assert (outcome.status, outcome.error) == (status, error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(receiver: Receiver, status: int) -> None:
    receiver.reply = receivers.status(status, {"Location": receiver.url})
    outcome = post(receiver.url)
    assert (outcome.status, outcome.error, len(receiver.received)) == (status, "redirect", 1)


def test_no_cookie_and_no_proxy_of_the_environment_is_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    receiver.reply = receivers.status(200, {"Set-Cookie": "a=1"})
    assert post(receiver.url).is_success
    assert post(receiver.url).is_success
    assert not any("cookie" in got.headers for got in receiver.received)


def test_a_long_reply_is_not_read_to_its_end(receiver: Receiver) -> None:
    written = threading.Event()

    def flood(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(10_000):
                handler.wfile.write(b"x" * 100_000)
        finally:
            written.set()

    receiver.reply = flood
    assert post(receiver.url).is_success
    # A gigabyte would take longer than the connection lives.
    assert written.wait(30)


def _drip(piece: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return a reply that sends one byte after the other for seconds."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(piece)
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.02)

    return reply


@pytest.mark.parametrize("piece", [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_receiver_that_drips_its_reply_is_cut_off_in_time(
    receiver: Receiver, piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 0.3)
    receiver.reply = _drip(piece)
    outcome = post(receiver.url)
    assert (outcome.status, outcome.error) == (None, "timeout")


def test_an_interim_reply_without_end_is_cut_off_too(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 0.3)

    def reply(handler: BaseHTTPRequestHandler) -> None:
        for _ in range(300):
            handler.wfile.write(b"HTTP/1.1 102 Processing\r\n\r\n")
            time.sleep(0.01)

    receiver.reply = reply
    assert post(receiver.url).error == "timeout"


def test_a_receiver_that_is_not_there_is_a_failure_to_connect(loopback: None) -> None:
    with receivers.running() as gone:
        url = gone.url
    assert post(url).error == "connection"


def test_a_receiver_that_speaks_no_http_is_a_failure_of_the_protocol(receiver: Receiver) -> None:

    def greet(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")

    receiver.reply = greet
    assert post(receiver.url).error == "protocol"


def test_a_name_without_an_address_is_a_failure_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: str, port: int) -> None:
        raise addresses.Unresolved

    monkeypatch.setattr(addresses, "look_up", look_up)
    assert post("https://nowhere.example.com/").error == "dns"


def test_a_name_server_that_never_answers_ends_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(sending, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(addresses, "look_up", lambda host, port: answered.wait() and [])
    assert post("https://slow.example.com/").error == "timeout"
    answered.set()


@pytest.mark.parametrize(
    "answer", [("127.0.0.1",), ("8.8.8.8", "127.0.0.1"), ("::ffff:127.0.0.1",), ("10.0.0.1",)]
)
def test_a_name_that_has_come_to_lead_here_is_not_called(
    answer: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where the endpoint was created, its name led to a public address.
    asked = resolve_to(monkeypatch, ("8.8.8.8",), answer)
    addresses.refuse_now("https://rebinding.example.com:8443/")
    with receivers.running() as receiver:
        outcome = post("https://rebinding.example.com:8443/")
        assert (outcome.status, outcome.error) == (None, "address_refused")
        assert (len(asked), receiver.received) == (2, [])


def test_a_name_is_looked_up_once_and_the_checked_address_is_called(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A second look-up would lead to an address that nothing here can reach.
    asked = resolve_to(monkeypatch, ("127.0.0.1",), ("203.0.113.9",))
    outcome = post(f"http://hooks.example.com:{receiver.port}/hook")
    assert outcome.is_success, outcome
    assert asked == ["hooks.example.com"]
    assert receiver.received[0].headers["host"] == f"hooks.example.com:{receiver.port}"


def test_the_next_address_of_a_name_is_tried(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing listens at the first one.
    resolve_to(monkeypatch, ("127.0.0.77", "127.0.0.1"))
    assert post(f"http://hooks.example.com:{receiver.port}/hook").is_success


def test_a_public_address_is_not_called_in_plain_text_although_this_machine_may_be(
    loopback: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ("8.8.8.8",))
    assert post("http://hooks.example.com/hook").error == "address_refused"


def test_a_url_that_is_not_allowed_any_more_is_not_called(receiver: Receiver, settings: Settings) -> None:
    settings.WEBHOOK_ALLOW_LOOPBACK = False
    assert post(receiver.url).error == "address_refused"
    assert receiver.received == []


@pytest.mark.parametrize(
    ("asked_name", "trusts", "error"),
    [
        ("hooks.example.com", True, ""),
        ("other.example.com", True, "tls"),
        ("hooks.example.com", False, "tls"),
    ],
)
def test_the_certificate_is_that_of_the_name_whatever_the_address(
    receiver: Receiver,
    tmp_path: Path,
    asked_name: str,
    trusts: bool,
    error: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority, certificate = tls.issue(tmp_path, host="hooks.example.com")
    receiver.use_tls(certificate)
    context = ssl.create_default_context(cafile=str(authority)) if trusts else ssl.create_default_context()
    monkeypatch.setattr(sending, "_tls", lambda: context)
    resolve_to(monkeypatch, ("127.0.0.1",))
    outcome = post(f"https://{asked_name}:{receiver.port}/hook")
    assert outcome.error == error
    assert receiver.server_names == [asked_name]
    assert len(receiver.received) == (not error)


def test_certificates_are_verified_by_default() -> None:
    context = sending._tls()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("status", "text", "seconds"),
    [
        (429, "7", 7),
        (502, "7", 7),
        (503, "7", 7),
        (504, "7", 7),
        (500, "7", None),
        (200, "7", None),
        (503, "soon", None),
        (503, "-1", None),
        (503, "9" * 400, 999_999_999),
        (503, "Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)
def test_retry_after_counts_for_a_busy_receiver(
    receiver: Receiver, status: int, text: str, seconds: float | None
) -> None:
    receiver.reply = receivers.status(status, {"Retry-After": text})
    assert post(receiver.url).retry_after_seconds == seconds
