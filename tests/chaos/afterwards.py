"""The acts of a client on a generation that it knows by its id: it polls it, cancels it, or deletes it."""

import base64
import hashlib
import http.client
import json
import random
import time
from collections.abc import Sequence
from typing import Any, Final

from tests.chaos.client_log import ClientLog, Order, Owner, Reply

# Longer than a poll waits.
TIMEOUT_SECONDS: Final = 60
POLL_SECONDS: Final = (0, 5, 20)
OPEN: Final = ("queued", "running")
# The status that a waiting client would have been answered with.
STATUSES: Final = {"completed": 200, "failed": 500, "cancelled": 503}


class Afterwards:
    """Requests about generations that exist, to any of the web processes."""

    def __init__(self, *, client_log: ClientLog, webs: Sequence[tuple[str, int]]) -> None:
        self._client_log = client_log
        self._webs = webs

    def await_end(
        self, order: Order, generation_id: int, chance: random.Random, give_up_at: float
    ) -> Reply | None:
        """Poll until the generation has ended, and return its end as a waiting client is told it.

        A client that regrets its order cancels it meanwhile.
        """
        cancels = order.regret == "cancel"
        while time.monotonic() < give_up_at:
            if cancels and chance.random() < 0.7:
                cancels = not self._is_cancelled(order, generation_id, chance)
            wait_seconds = chance.choice(POLL_SECONDS)
            path = f"/v1/generations/{generation_id}?wait={wait_seconds}&include=b64_json"
            answer = self.request("GET", path, order.owner, chance)
            if answer:
                status, told = answer
                if status == 200 and told["data"]["status"] not in OPEN:
                    return _reply(told["data"])
                if status < 500 and status not in (200, 429):
                    self._client_log.offend(f"order {order.number}: a poll was answered {status}")
                    return None
            time.sleep(chance.uniform(0.1, 1.0))
        return None

    def is_deleted(self, order: Order, reply: Reply, chance: random.Random, give_up_at: float) -> bool:
        """Delete the generation with all that it was made from; return whether the service said that it is gone."""
        assert reply.generation_id is not None
        if not self._client_log.may_delete(reply.generation_id, order.prompt):
            return False
        while time.monotonic() < give_up_at:
            answer = self.request("DELETE", f"/v1/generations/{reply.generation_id}", order.owner, chance)
            if answer and answer[0] == 204:
                self._client_log.note_deleted(reply.generation_id)
                return True
            if answer and answer[0] < 500 and answer[0] != 429:
                self._client_log.offend(f"order {order.number}: a deletion was answered {answer[0]}")
                return False
            time.sleep(chance.uniform(0.2, 2.0))
        return False

    def request(
        self, method: str, path: str, owner: Owner, chance: random.Random
    ) -> tuple[int, dict[str, Any]] | None:
        """Return the status and the JSON of one answer, or None if none came."""
        connection = http.client.HTTPConnection(*chance.choice(self._webs), timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, headers={"Authorization": f"Bearer {owner.key}"})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        try:
            return answer.status, json.loads(content) if content else {}
        except ValueError:
            self._client_log.offend(
                f"{method} {path}: {answer.status} without the envelope: {content[:80]!r}"
            )
            return None

    def _is_cancelled(self, order: Order, generation_id: int, chance: random.Random) -> bool:
        """Ask to cancel it; return whether there was an answer that is worth believing."""
        answer = self.request("POST", f"/v1/generations/{generation_id}/cancel", order.owner, chance)
        if answer is None or answer[0] >= 500 or answer[0] == 429:
            return False
        if answer[0] in (200, 202):
            self._client_log.note_cancelled(generation_id)
        elif answer[0] != 409:
            self._client_log.offend(f"order {order.number}: a cancellation was answered {answer[0]}")
        return True


def _reply(data: dict[str, Any]) -> Reply:
    image = base64.b64decode((data["image"] or {}).get("b64_json", ""))
    return Reply(
        at=time.monotonic(),
        status=STATUSES[data["status"]],
        error_type=(data["error"] or {}).get("type", ""),
        generation_id=data["id"],
        digest=hashlib.sha256(image).hexdigest() if image else "",
        token=data["token"] or "",
        cost=data["cost"] or "",
        was_replayed=False,
    )
