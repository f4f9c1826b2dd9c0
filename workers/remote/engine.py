"""The engine for models that another server runs: one request for each order, as many at once as a batch has orders.

The server decides about steps, precision and memory. Masks, negative prompts and previews have no place in a request.
"""

import asyncio
from collections.abc import Sequence

from workers.catalogue import ImageModel
from workers.engine.interface import (
    DeviceLost,
    ImageOrder,
    OrderDropped,
    Picture,
    SomeOrdersFailed,
    StepCallback,
)
from workers.remote import replies, requests
from workers.remote.configuration import Remote, read_remote
from workers.remote.requests import Prepared

# The interval at which cancelled orders are looked for.
LOOK_SECONDS = 1.0
# One request is one step. More is not known of it.
STEPS = 1

# The file of a picture, or the error that its order ended with.
Outcome = bytes | Exception


class RemoteEngine:
    """An Engine whose device is a server. An order that fails does not fail its batch."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self.batch_limit = remote.max_requests
        self.device_name = f"remote: {remote.host}"

    def batch_key(self, order: ImageOrder) -> str:
        """Return the same key for all orders, because each has a request of its own."""
        return self._remote.base_url

    def prepare(self, orders: Sequence[ImageOrder]) -> list[Prepared | Exception]:
        """Encode the source images of each order."""
        return [_prepare(order) for order in orders]

    def denoise(
        self, prepared: Sequence[Prepared | Exception], *, on_step: StepCallback
    ) -> list[tuple[Prepared, Outcome] | Exception]:
        """Send all requests at once, and return when the last one has ended. Raise DeviceLost if none got through."""
        sent = [each for each in prepared if isinstance(each, Prepared)]
        outcomes = asyncio.run(self._fetch_all(sent, on_step)) if sent else []
        lost = [each for each in outcomes if isinstance(each, DeviceLost)]
        if lost and len(lost) == len(outcomes):
            raise lost[0]
        ended = iter(zip(sent, outcomes, strict=True))
        return [each if isinstance(each, Exception) else next(ended) for each in prepared]

    def decode(self, denoised: Sequence[tuple[Prepared, Outcome] | Exception]) -> list[Picture]:
        """Decode the files. Raise the error of an only order, and otherwise SomeOrdersFailed."""
        outcomes = [each if isinstance(each, Exception) else _decode(*each) for each in denoised]
        errors = [each for each in outcomes if isinstance(each, Exception)]
        if errors and len(outcomes) == 1:
            raise errors[0]
        if errors:
            raise SomeOrdersFailed(outcomes)
        return [each for each in outcomes if not isinstance(each, Exception)]

    async def _fetch_all(self, sent: Sequence[Prepared], on_step: StepCallback) -> list[Outcome]:
        async with requests.open_client(self._remote) as client:
            tasks = [
                asyncio.create_task(requests.fetch_file(client, self._remote, prepared)) for prepared in sent
            ]
            try:
                await _wait(tasks, sent, on_step)
            finally:
                # A cancelled request closes its connection, by which the server can tell.
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
        return [_outcome(each) for each in ended]


async def _wait(
    tasks: Sequence["asyncio.Task[bytes]"], sent: Sequence[Prepared], on_step: StepCallback
) -> None:
    """Return when all tasks have ended. `on_step` raises OrderDropped once nobody wants any of the pictures."""
    on_step(0, STEPS)
    while not all(task.done() for task in tasks):
        await asyncio.wait(tasks, timeout=LOOK_SECONDS, return_when=asyncio.ALL_COMPLETED)
        for task, prepared in zip(tasks, sent, strict=True):
            if prepared.order.is_unwanted():
                task.cancel()
        on_step(0, STEPS)
    on_step(STEPS, STEPS)


def _prepare(order: ImageOrder) -> Prepared | Exception:
    try:
        return requests.prepare(order)
    except Exception as error:  # noqa: BLE001 (the error belongs to this order alone)
        return error


def _outcome(ended: bytes | BaseException) -> Outcome:
    if isinstance(ended, asyncio.CancelledError):
        return OrderDropped()
    if isinstance(ended, BaseException) and not isinstance(ended, Exception):
        raise ended
    return ended


def _decode(prepared: Prepared, outcome: Outcome) -> Picture | Exception:
    if isinstance(outcome, Exception):
        return outcome
    try:
        return replies.read_picture(outcome, prepared.order)
    except Exception as error:  # noqa: BLE001 (the error belongs to this order alone)
        return error


def load(*, model: ImageModel, device: str) -> RemoteEngine:
    """Return the engine of the server that answers now. The device is the server's. Raise EngineError."""
    remote = read_remote(model)
    asyncio.run(requests.check(remote))
    return RemoteEngine(remote)
