"""Promises to clients that hold once everything is quiet, seen through the API with own and with foreign keys."""

import hashlib
import http.client
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np

from billing.money import format_usd
from tests.chaos import engine
from tests.chaos.client_log import ClientLog, Owner
from tests.chaos.clients import palette
from tests.chaos.cluster import WEBS, Cluster
from tests.chaos.snapshot import Snapshot
from workers.gpu_worker import marking
from workers.imaging import encoders
from workers.imaging.encoders import Encoding
from workers.lifecycle import image_tokens

PAGE = 100


class Clerk:
    """Asks the service on behalf of any account, as often as it likes."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._connections = [
            http.client.HTTPConnection(*cluster.addresses[name], timeout=60) for name in WEBS
        ]
        self._count = 0

    def get(self, path: str, owner: Owner) -> tuple[int, bytes]:
        """Status and content of one GET; where the account has asked too often, its count is forgotten first."""
        while True:
            self._count += 1
            connection = self._connections[self._count % len(self._connections)]
            try:
                connection.request("GET", path, headers={"Authorization": f"Bearer {owner.key}"})
                reply = connection.getresponse()
                content = reply.read()
            except http.client.RemoteDisconnected:
                # It had been idle for too long.
                connection.close()
                continue
            if reply.status != 429:
                return reply.status, content
            with self._cluster.redis() as client:
                client.delete(*client.keys("*rate*"))

    def data(self, path: str, owner: Owner) -> dict[str, Any]:
        """Return the data of one GET that must succeed."""
        status, content = self.get(path, owner)
        if status != 200:
            raise AssertionError(f"GET {path} is {status}: {content[:200]!r}")
        return json.loads(content)["data"]


def images(clerk: Clerk, snapshot: Snapshot, client_log: ClientLog) -> Iterator[str]:
    """Every image is what its order follows to, for its owner, and the same that was delivered; 403 for others."""
    owners = {order.owner.account_id: order.owner for order in client_log.orders}
    orders = {order.prompt: order for order in client_log.orders}
    for row in snapshot.generations.values():
        prompt = client_log.prompt_of(row)
        if row.status != "completed" or prompt not in orders:
            continue
        order, path = orders[prompt], f"/v1/images/{image_tokens.token_of(generation_id=row.id)}"
        status, content = clerk.get(path, owners[row.account_id])
        status_due = _status_due(row, client_log)
        if status != status_due:
            yield f"generation {row.id}: its owner is answered {status}, not {status_due}"
        # Without its prompt and seed nobody knows what the image was.
        if row.prompt:
            due = expected_digest(row, order.sources)
            if order.completed and order.completed.digest != due:
                yield f"order {order.number}: generation {row.id} came with another image than was made of it"
            if status == 200 and hashlib.sha256(content).hexdigest() != due:
                yield f"generation {row.id}: its image is another than was made of it"
        stranger = next(owner for owner in owners.values() if owner.account_id != row.account_id)
        status, _ = clerk.get(path, stranger)
        if status != 403:
            yield f"generation {row.id}: a stranger is answered {status}, not 403"


def _status_due(row: Any, client_log: ClientLog) -> int:
    if not row.prompt:
        return 410
    # A deletion that was asked for, and that no answer of the service has confirmed, may never have arrived.
    is_unanswered = row.id in client_log.erased and row.id not in client_log.deleted
    return 200 if is_unanswered else client_log.spoilt.get(row.id, 200)


def statements(clerk: Clerk, snapshot: Snapshot, client_log: ClientLog) -> Iterator[str]:
    """As printed: balance + total_spent is what was paid in, and total_spent the sum of the history's costs."""
    for owner in sorted({order.owner for order in client_log.orders}):
        told = clerk.data("/v1/balance", owner)
        if Decimal(told["balance"]) + Decimal(told["total_spent"]) != Decimal(
            format_usd(owner.opening_micros)
        ):
            yield f"account {owner.account_id}: {told} is not {format_usd(owner.opening_micros)} in all"
        history = list(_history(clerk, owner))
        costs = sum((Decimal(each["cost"]) for each in history), Decimal(0))
        if costs != Decimal(told["total_spent"]):
            yield f"account {owner.account_id}: its history costs {costs}, it spent {told['total_spent']}"
        mine = sum(row.account_id == owner.account_id for row in snapshot.generations.values())
        if len({each["id"] for each in history}) != mine:
            yield f"account {owner.account_id}: its history has {len(history)} of {mine} generations"


def expected_digest(row: Any, places: Sequence[int]) -> str:
    """SHA-256 of the file, mark included, that follows from a generation's row and its order's source pictures."""
    made = engine.picture(
        prompt=row.prompt,
        seed=row.parameters["seed"],
        width=row.parameters["width"],
        height=row.parameters["height"],
        sources=[_palette()[place] for place in places],
    )
    content = encoders.encode(np.asarray(made), Encoding.of(row.parameters), xmp=marking.xmp_packet(row))
    return hashlib.sha256(content).hexdigest()


def _history(clerk: Clerk, owner: Owner) -> Iterator[dict[str, Any]]:
    offset, has_more = 0, True
    while has_more:
        page = clerk.data(f"/v1/generations?limit={PAGE}&offset={offset}", owner)
        yield from page["generations"]
        offset, has_more = offset + PAGE, page["pagination"]["has_more"]


@cache
def _palette() -> list[Any]:
    return palette()
