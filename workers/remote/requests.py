"""Requests to a remote server: one POST for each picture, within a bound of time, and closed when it is not wanted."""

import asyncio
import math
import ssl
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import httpx2

from workers.engine.interface import DeviceLost, EngineError, ImageOrder, Misconfigured, OrderRefused
from workers.imaging import png
from workers.remote import replies
from workers.remote.configuration import Remote

CONNECT_SECONDS: Final = 5.0
CHECK_SECONDS: Final = 10.0
# A server that is busy says by Retry-After when to ask again. It has made nothing then.
BUSY: Final = frozenset({429, 503})
MIN_WAIT_SECONDS: Final = 0.2


class Prepared(NamedTuple):
    """An order with the PNG files of its source images."""

    order: ImageOrder
    files: Sequence[bytes]


def prepare(order: ImageOrder) -> Prepared:
    """Encode the order's source images. Raise OrderRefused for what no request can say."""
    if order.mask is not None or order.negative_prompt:
        raise OrderRefused("a remote model takes neither a mask nor a negative prompt")
    return Prepared(order, [png.encode(source) for source in order.sources])


def open_client(remote: Remote) -> httpx2.AsyncClient:
    """Return a client of the server, for one event loop. It follows no redirect and uses no proxy."""
    return httpx2.AsyncClient(
        base_url=remote.base_url,
        # A compressed reply could be small and mean gigabytes.
        headers={"Accept-Encoding": "identity"}
        | ({"Authorization": f"Bearer {remote.key}"} if remote.key else {}),
        timeout=httpx2.Timeout(remote.timeout_seconds, connect=CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=remote.max_requests),
        verify=_tls(),
        trust_env=False,
    )


async def check(remote: Remote) -> None:
    """Ask the server for its models. Raise Misconfigured if it refuses the key, and EngineError if it is away."""
    try:
        async with (
            asyncio.timeout(CHECK_SECONDS),
            open_client(remote) as client,
            client.stream("GET", "/models") as reply,
        ):
            status = reply.status_code
    except (httpx2.HTTPError, TimeoutError) as error:
        raise EngineError(f"the remote server {remote.host} is away: {type(error).__name__}") from None
    if status in {401, 403}:
        raise Misconfigured(f"the remote server {remote.host} refuses the key: it replied {status}")
    # A server need not list its models.
    if status >= 500:
        raise EngineError(f"the remote server {remote.host} is not ready: it replied {status}")


async def fetch_file(client: httpx2.AsyncClient, remote: Remote, prepared: Prepared) -> bytes:
    """Return the picture's file.

    Raise ContentRefused, OrderRefused, BadOutput, DeviceLost if nobody listens there, and otherwise EngineError.
    """
    request = _describe(remote, prepared)
    try:
        async with asyncio.timeout(remote.timeout_seconds):
            while True:
                status, content, wait_seconds = await _exchange(client, request, prepared.order)
                if status == 200:
                    return replies.read_file(content)
                if wait_seconds is None:
                    raise replies.error_of(status, content)
                await asyncio.sleep(wait_seconds)
    except (httpx2.ConnectError, httpx2.ConnectTimeout):
        raise DeviceLost(f"the remote server {remote.host} cannot be reached") from None
    except TimeoutError:
        raise EngineError(f"the remote server made nothing in {remote.timeout_seconds:g} s") from None
    except httpx2.HTTPError as error:
        raise EngineError(f"the request to the remote server broke off: {type(error).__name__}") from None


def _describe(remote: Remote, prepared: Prepared) -> Mapping[str, Any]:
    """Return the arguments of the client's call: JSON without source images, else a form."""
    order, files = prepared
    fields = {"prompt": order.prompt, "n": 1, "size": f"{order.width}x{order.height}", "seed": order.seed}
    fields = {name: value for name, value in fields.items() if name not in remote.omitted}
    fields |= remote.fields
    if not files:
        return {"url": "/images/generations", "json": fields}
    # A list of files has this name in a form.
    name = "image" if len(files) == 1 else "image[]"
    sent = [(name, (f"{number}.png", file, "image/png")) for number, file in enumerate(files)]
    return {"url": "/images/edits", "data": fields, "files": sent}


async def _exchange(
    client: httpx2.AsyncClient, request: Mapping[str, Any], order: ImageOrder
) -> tuple[int, bytes, float | None]:
    """Return status and body of the reply, and the seconds after which a busy server wants to be asked again."""
    async with client.stream("POST", **request) as reply:
        most = replies.max_bytes(order) if reply.status_code == 200 else replies.MAX_REFUSAL_BYTES
        content = bytearray()
        async for part in reply.aiter_raw():
            content += part
            if len(content) > most:
                raise EngineError(f"the remote server sent more than {most} bytes")
    is_busy = reply.status_code in BUSY
    return (
        reply.status_code,
        bytes(content),
        _read_wait(reply.headers.get("Retry-After")) if is_busy else None,
    )


def _read_wait(text: str | None) -> float | None:
    try:
        seconds = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return max(MIN_WAIT_SECONDS, seconds) if math.isfinite(seconds) else None


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
