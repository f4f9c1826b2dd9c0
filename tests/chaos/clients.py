"""Clients, each in a thread: they order, wait, try again as they should, leave, and note what they were told."""

import base64
import hashlib
import http.client
import io
import json
import random
import threading
import time
from collections import deque
from collections.abc import Sequence

from PIL import Image

from tests.chaos.afterwards import Afterwards
from tests.chaos.client_log import ClientLog, Order, Owner, Reply

# Longer than the service lets a client wait.
TIMEOUT_SECONDS = 60
# So long a client tries again; the deadline of a generation is over by then.
PATIENCE_SECONDS = 700
SIZES = ("512x512",) * 8 + ("768x1024", "1024x768")
# A share of clients look at their image once more, and somebody else tries to.
LOOKS_AGAIN = 0.15
# A third of the orders are asynchronous, and a tenth of all are cancelled or deleted.
ASYNCHRONOUS = 1 / 3
REGRETS = 0.1
# Seconds that an asynchronous order may stay in the queue. The first is over in many an outage.
QUEUE_TTLS = (None, None, 10, 600)
# Nothing is open after these.
ASK_AGAIN = {
    "service_busy",
    "rate_limit_exceeded",
    "concurrency_limit_exceeded",
    "queue_limit_exceeded",
    "queue_ttl_exceeded",
}
WISHES = ("a boat", "a fox in the snow", "grüne Hügel", "山の朝", "two chairs")


def palette() -> list[Image.Image]:
    """Draw the source pictures of all edits: small, and each of another colour."""
    return [Image.new("RGB", (96, 64 + 8 * place), (40 * place, 200 - 30 * place, 90)) for place in range(5)]


class Clients:
    """`start`s its clients, which order until `stop`; `join` waits for their last answers."""

    def __init__(
        self,
        *,
        client_log: ClientLog,
        owners: Sequence[Owner],
        webs: Sequence[tuple[str, int]],
        seed: int,
        orders_per_second: float,
        clients_per_owner: int,
    ) -> None:
        self._client_log = client_log
        self._webs = webs
        self._owners = owners
        self._interval_seconds = 1 / orders_per_second
        self._next_at = time.monotonic()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._specials: deque[str] = deque()
        self._afterwards = Afterwards(client_log=client_log, webs=webs)
        self._sources = [_encoded(picture) for picture in palette()]
        self._threads = [
            threading.Thread(target=self._run, args=(owner, random.Random(f"{seed} {place}")), daemon=True)
            for place, owner in enumerate([owner for owner in owners for _ in range(clients_per_owner)])
        ]

    def start(self) -> None:
        """All clients begin."""
        for thread in self._threads:
            thread.start()

    def order_soon(self, prompt: str) -> None:
        """Let the next client that orders order this."""
        self._specials.append(prompt)

    def place(self, *, owner: Owner, prompt: str, chance: random.Random) -> tuple[Order, threading.Thread]:
        """One order more, by a client of its own that has begun; it ends when the order has."""
        order = self._client_log.open(
            owner=owner, prompt=prompt, size="512x512", sources=(), has_key=True, leaves=False
        )
        client = threading.Thread(target=self._bring_to_an_end, args=(order, chance), daemon=True)
        client.start()
        return order, client

    def stop(self) -> None:
        """Nobody orders anything new; who waits goes on."""
        self._stopped.set()

    def join(self) -> None:
        """Wait until every client has its last answer, or has lost patience."""
        for thread in self._threads:
            thread.join()

    def _run(self, owner: Owner, chance: random.Random) -> None:
        while not self._stopped.is_set():
            self._take_turn()
            order = self._order(owner, chance)
            try:
                self._bring_to_an_end(order, chance)
            except Exception as error:  # noqa: BLE001 (a client that fell silent would make the run look better)
                self._client_log.offend(f"order {order.number}: the client failed: {error!r}")
            if order.ended == "refused":
                # Out of money: it asks less often.
                self._stopped.wait(10)

    def _take_turn(self) -> None:
        with self._lock:
            self._next_at = max(self._next_at + self._interval_seconds, time.monotonic())
            turn_at = self._next_at
        self._stopped.wait(max(0.0, turn_at - time.monotonic()))

    def _order(self, owner: Owner, chance: random.Random) -> Order:
        special = self._specials.popleft() if self._specials else None
        source_count = 0 if special else chance.choice((0, 0, 0, 0, 1, 2))
        is_async = not special and chance.random() < ASYNCHRONOUS
        regret = ""
        if not special and chance.random() < REGRETS:
            regret = chance.choice(("cancel", "delete")) if is_async else "delete"
        return self._client_log.open(
            owner=owner,
            prompt=special or chance.choice(WISHES),
            size="512x512" if special else chance.choice(SIZES),
            sources=tuple(chance.randrange(len(self._sources)) for _ in range(source_count)),
            has_key=chance.random() < 0.8,
            leaves=not special and chance.random() < 0.15,
            is_async=is_async,
            queue_ttl=chance.choice(QUEUE_TTLS) if is_async else None,
            regret=regret,
        )

    def _bring_to_an_end(self, order: Order, chance: random.Random) -> None:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        failures = 0
        while time.monotonic() < give_up_at:
            is_leaving = order.leaves and not order.sent_count
            order.sent_count += 1
            try:
                reply, wait_seconds = self._ask(order, chance, is_leaving)
            except (OSError, http.client.HTTPException):
                # What became of it nobody knows. Without a key, asking again could buy another.
                if order.idempotency_key is None or (is_leaving and chance.random() < 0.5):
                    order.ended = "left" if is_leaving else "unknown"
                    return
                time.sleep(chance.uniform(0.2, 1.5))
                continue
            self._client_log.note(order, reply)
            if reply.status == 202:
                assert reply.generation_id is not None
                end = self._afterwards.await_end(order, reply.generation_id, chance, give_up_at)
                if end is None:
                    break
                reply = end
                self._client_log.note(order, reply)
            failures += reply.error_type == "generation_failed"
            order.ended = self._end_of(order, reply, failures)
            if order.ended:
                if reply.status == 200 and order.regret == "delete":
                    self._delete(order, reply, chance, give_up_at)
                elif reply.status == 200 and chance.random() < LOOKS_AGAIN:
                    self._look_again(order, reply, chance)
                return
            time.sleep(min(wait_seconds, 5) + chance.uniform(0, 1))
        order.ended = "out of patience"

    def _end_of(self, order: Order, reply: Reply, failures: int) -> str:
        """Return how the order ended; empty while it is worth asking again."""
        ends: dict[int | str, str] = {200: "completed", "insufficient_balance": "refused"}
        if order.regret == "cancel":
            ends["generation_cancelled"] = "cancelled"
        if end := ends.get(reply.status) or ends.get(reply.error_type):
            return end
        if reply.error_type == "generation_failed" and (failures == 2 or order.idempotency_key is None):
            return "failed"
        if reply.error_type in ASK_AGAIN:
            # Nothing is open under this order, so asking again costs nothing.
            return "given up" if self._stopped.is_set() else ""
        if reply.status >= 500:
            return "" if order.idempotency_key else "unknown"
        self._client_log.offend(f"order {order.number}: was told {reply.status} {reply.error_type}")
        return "refused for no reason"

    def _look_again(self, order: Order, reply: Reply, chance: random.Random) -> None:
        """Get the image again by its token: the owner always gets the same bytes, and a stranger never does."""
        stranger = chance.choice([owner for owner in self._owners if owner != order.owner])
        for owner, allowed in ((order.owner, {200, 410}), (stranger, {403})):
            try:
                status, content = self._get(f"/v1/images/{reply.token}", owner, chance)
            except (OSError, http.client.HTTPException):
                continue
            if status < 500 and status not in allowed | {429}:
                self._client_log.offend(
                    f"order {order.number}: account {owner.account_id} was answered {status}"
                )
            if status == 200 and hashlib.sha256(content).hexdigest() != reply.digest:
                self._client_log.offend(f"order {order.number}: another image came for the same token")

    def _delete(self, order: Order, reply: Reply, chance: random.Random, give_up_at: float) -> None:
        """Delete what came; then nobody gets it any more, not even under the order's own key."""
        if not self._afterwards.is_deleted(order, reply, chance, give_up_at):
            return
        try:
            statuses = [self._get(f"/v1/images/{reply.token}", order.owner, chance)[0]]
            if order.idempotency_key:
                statuses.append(self._ask(order, chance, is_leaving=False)[0].status)
        except (OSError, http.client.HTTPException):
            return
        for status in statuses:
            if status < 500 and status not in {410, 429}:
                self._client_log.offend(f"order {order.number}: was answered {status} after it was deleted")

    def _get(self, path: str, owner: Owner, chance: random.Random) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(*chance.choice(self._webs), timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {owner.key}"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _ask(self, order: Order, chance: random.Random, is_leaving: bool) -> tuple[Reply, float]:
        headers = {"Authorization": f"Bearer {order.owner.key}", "Content-Type": "application/json"}
        if order.idempotency_key:
            headers["Idempotency-Key"] = order.idempotency_key
        images = [{"data": self._sources[place]} for place in order.sources]
        fields: dict[str, object] = {"prompt": order.prompt, "size": order.size, "images": images}
        if order.is_async and order.number % 2:
            headers["Prefer"] = "respond-async"
        elif order.is_async:
            fields["async"] = True
        if order.queue_ttl is not None:
            fields["queue_ttl"] = order.queue_ttl
        body = json.dumps(fields)
        connection = http.client.HTTPConnection(*chance.choice(self._webs), timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", "/v1/generate", body.encode(), headers)
            if is_leaving:
                time.sleep(chance.choice((0, 0.02, 0.3)))
                raise ConnectionAbortedError
            answer = connection.getresponse()
            return self._read(order, answer, answer.read())
        finally:
            connection.close()

    def _read(self, order: Order, answer: http.client.HTTPResponse, content: bytes) -> tuple[Reply, float]:
        try:
            told = json.loads(content)
            error, data = told.get("error", {}), told.get("data", {})
        except (ValueError, AttributeError):
            self._client_log.offend(
                f"order {order.number}: {answer.status} without the envelope: {content[:80]!r}"
            )
            error, data = {}, {}
        image = base64.b64decode((data.get("image") or {}).get("b64_json", ""))
        reply = Reply(
            at=time.monotonic(),
            status=answer.status,
            error_type=error.get("type", ""),
            generation_id=data.get("id") or error.get("generation_id"),
            digest=hashlib.sha256(image).hexdigest() if image else "",
            token=data.get("token") or "",
            cost=data.get("cost") or "",
            was_replayed=answer.getheader("Idempotent-Replayed") == "true",
        )
        return reply, float(answer.getheader("Retry-After") or 0)


def _encoded(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
