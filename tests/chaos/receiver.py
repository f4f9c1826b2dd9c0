"""The receiver of every account's webhooks: it verifies what arrives, keeps a record of it, and often fails.

Only the first two attempts of an event may fail here, those that reached nobody included. The service therefore brings
it after 5 or 30 seconds more, or after the lease of a process that died.
"""

import json
import random
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple

from standardwebhooks import Webhook, WebhookVerificationError

from tests.chaos.client_log import ClientLog
from tests.chaos.network import LOCAL

TAKEN: Final = "204"
REFUSED: Final = "400"
# The signature is right, and its time is too far from that of this process.
WRONG_CLOCK: Final = "400 wrong clock"
# A closed or a half answer leaves open whether the event was taken.
FAILURES: Final = ("500", "503", "hang", "close", "half an answer")
# The share of first and of second attempts that fail.
FAILING: Final = 0.35
MAX_FAILING_ATTEMPTS: Final = 2
# The number of the attempt, which also counts those of processes that died before they sent.
ATTEMPT_HEADER: Final = "x-zekron-attempt"
# Longer than the service waits for an answer.
HANG_SECONDS: Final = 17
RETRY_AFTER_SECONDS: Final = 7


class Attempt(NamedTuple):
    """One request to an account's address, and how it was answered. `at` is of the monotonic clock."""

    at: float
    account_id: int
    webhook_id: str
    event_type: str
    generation_id: int
    answer: str


class Receiver:
    """A server with an address for each account. `close` it once."""

    def __init__(self, *, client_log: ClientLog, seed: int, address: tuple[str, int] = (LOCAL, 0)) -> None:
        """Start the server at the address. `seed` decides which attempts fail, and how."""
        self._client_log = client_log
        self._seed = seed
        self._secrets: dict[int, str] = {}
        self._attempts: list[Attempt] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._server = _Server(self, address)
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)
        self._thread.start()

    def url_of(self, account_id: int) -> str:
        """Return the address for this account's events."""
        return f"http://{LOCAL}:{self._server.server_port}/{account_id}"

    def trust(self, *, account_id: int, secret: str) -> None:
        """Take events for this account that are signed with this secret, and no others."""
        self._secrets[account_id] = secret

    def attempts(self) -> list[Attempt]:
        """Return what has arrived so far, in its order."""
        with self._lock:
            return list(self._attempts)

    def close(self) -> None:
        """End the server, and let nobody hang any more."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def hang(self) -> None:
        """Say nothing for longer than the service waits."""
        self._closed.wait(HANG_SECONDS)

    def offend(self, text: str) -> None:
        """Note something that should not have happened at all."""
        self._client_log.offend(text)

    def judge(self, *, path: str, headers: Mapping[str, str], body: bytes) -> str:
        """Verify and record a request, and return how to answer it."""
        account_id = int(path.strip("/"))
        secret = self._secrets.get(account_id)
        if secret is None:
            self._client_log.offend(f"a webhook came to {path}, which nobody has named")
            return REFUSED
        try:
            Webhook(secret).verify(body, dict(headers))
            answer = ""
        except WebhookVerificationError as error:
            if not _is_signed(secret, headers, body):
                self._client_log.offend(f"a webhook for account {account_id} is not signed by it: {error}")
                return REFUSED
            answer = WRONG_CLOCK
        event = json.loads(body)
        self._look_at(account_id, event)
        place = int(headers[ATTEMPT_HEADER])
        answer = answer or self._choose(f"{event['data']['id']} {event['type']}", place)
        attempt = Attempt(
            time.monotonic(), account_id, headers["webhook-id"], event["type"], event["data"]["id"], answer
        )
        with self._lock:
            self._attempts.append(attempt)
        return answer

    def _look_at(self, account_id: int, event: Mapping[str, Any]) -> None:
        data = event["data"]
        if event["type"] != f"generation.{data['status']}":
            self._client_log.offend(
                f"a webhook says {event['type']} of a generation that is {data['status']}"
            )
        if "prompt" in data:
            self._client_log.offend(f"a webhook for account {account_id} has a prompt that was not asked for")

    def _choose(self, event: str, place: int) -> str:
        chance = random.Random(f"{self._seed} {event} {place}")
        fails = place <= MAX_FAILING_ATTEMPTS and chance.random() < FAILING
        return chance.choice(FAILURES) if fails else TAKEN


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Each account gets four requests at once.
    request_queue_size = 256

    def __init__(self, receiver: Receiver, address: tuple[str, int]) -> None:
        self.receiver = receiver
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Note what this receiver does wrong itself. A sender may be killed at any time."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            self.receiver.offend(f"the receiver of webhooks failed: {error!r}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        """Answer one event as the receiver says."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.receiver.judge(path=self.path, headers=headers, body=body)
        if answer == "hang":
            self.server.receiver.hang()
        elif answer == "half an answer":
            self.wfile.write(b"HTTP/1.1 2")
        elif answer != "close":
            self.send_response(int(answer[:3]))
            self.send_header("Content-Length", "0")
            if answer == "503":
                self.send_header("Retry-After", str(RETRY_AFTER_SECONDS))
            self.end_headers()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


def _is_signed(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether the signature is right for the time that it names, whatever time it is now."""
    try:
        moment = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        due = Webhook(secret).sign(headers["webhook-id"], moment, body.decode())
    except (KeyError, ValueError, OverflowError):
        return False
    return due in headers.get("webhook-signature", "").split()
