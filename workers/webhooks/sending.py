"""One attempt to deliver a webhook: a POST over a new connection to an address that was checked.

It follows no redirect, uses no proxy of the environment, keeps no cookie, and reads little of the reply.
"""

import asyncio
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Final

import httpcore2

from workers.webhooks import addresses
from workers.webhooks.addresses import Target

CONNECT_SECONDS: Final = 5.0
TOTAL_SECONDS: Final = 15.0
MAX_REPLY_BYTES: Final = 64 * 1024
# The statuses whose Retry-After counts.
_BUSY: Final = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt: the status of the reply, or else the class of the error.

    `retry_after_seconds` is what a busy receiver asked for.
    """

    status: int | None
    error: str
    milliseconds: int
    retry_after_seconds: float | None = None

    @property
    def is_success(self) -> bool:
        """Return whether the receiver took the event."""
        return self.status is not None and not self.error


async def post(*, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """Send the body, and return the outcome. Never raises for anything that the receiver or the network does.

    The time of all that happens is bounded, however slowly the receiver sends.
    """
    began = time.monotonic()
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            status, retry_after_seconds = await _exchange(addresses.parse(url), body, headers)
    except Exception as cause:  # noqa: BLE001 (a receiver may break any layer below, and each failure is an outcome)
        return Outcome(None, _classify(cause), _since(began))
    return Outcome(status, _judge(status), _since(began), retry_after_seconds)


async def _exchange(target: Target, body: bytes, headers: Mapping[str, str]) -> tuple[int, float | None]:
    """Return the status of the reply, and the seconds of its Retry-After."""
    fields = {"Host": target.authority, "Content-Length": str(len(body)), "Connection": "close", **headers}
    url = httpcore2.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
    connection = httpcore2.AsyncHTTPConnection(
        url.origin, ssl_context=_tls(), network_backend=_CheckedNetwork(target)
    )
    request = httpcore2.Request(
        "POST",
        url,
        headers=list(fields.items()),
        content=body,
        extensions={"timeout": {"connect": CONNECT_SECONDS}},
    )
    async with connection:
        response = await connection.handle_async_request(request)
        try:
            received = 0
            async for chunk in response.aiter_stream():
                received += len(chunk)
                if received >= MAX_REPLY_BYTES:
                    break
        finally:
            await response.aclose()
        return response.status, _retry_after(response)


class _CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """The network of one attempt. It resolves the name once, and connects to addresses that passed the check.

    TLS still checks the certificate against the name.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Return a connection to the first address that answers."""
        async with asyncio.timeout(timeout):
            found = await addresses.resolve(host, port)
            addresses.check(self._target, found)
            for address in found[:-1]:
                try:
                    # The next address must have its turn within the same time.
                    return await self._network.connect_tcp(str(address), port, CONNECT_SECONDS / len(found))
                except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                    continue
            return await self._network.connect_tcp(str(found[-1]), port)


@cache
def _tls() -> ssl.SSLContext:
    """Return the context of all attempts, which verifies certificates by the authorities of the system."""
    return ssl.create_default_context()


def _judge(status: int) -> str:
    """Return the class of the error that a status is, or nothing for a success."""
    if 200 <= status < 300:
        return ""
    return "redirect" if 300 <= status < 400 else "status"


def _classify(cause: BaseException) -> str:
    """Return the class of an error. It tells the owner what to look for, and nothing that the receiver sent."""
    if isinstance(cause, addresses.RefusedAddress | addresses.RefusedUrl):
        return "address_refused"
    if isinstance(cause, addresses.Unresolved):
        return "dns"
    if isinstance(cause, TimeoutError | httpcore2.TimeoutException):
        return "timeout"
    if isinstance(cause, ssl.SSLError) or isinstance(cause.__cause__ or cause.__context__, ssl.SSLError):
        return "tls"
    if isinstance(cause, httpcore2.ConnectError | OSError):
        return "connection"
    return "protocol"


def _retry_after(response: httpcore2.Response) -> float | None:
    """Return the seconds that a busy receiver asks for (RFC 9110, section 10.2.3)."""
    if response.status not in _BUSY:
        return None
    text = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"").decode(
        "latin-1"
    )
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _since(began: float) -> int:
    return round(1000 * (time.monotonic() - began))
