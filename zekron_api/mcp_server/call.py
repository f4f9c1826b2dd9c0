"""A call of a tool: its arguments, the requests that it makes, and its outcome. It knows no protocol."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from zekron_api.http import errors
from zekron_api.http.errors import InvalidField
from zekron_api.mcp_server.pictures import Picture
from zekron_api.waiting.own_requests import OwnReply, OwnRequests


class Outcome(NamedTuple):
    """The result of a call: fields for programs and models, and an image if there is one."""

    fields: dict[str, Any]
    picture: Picture | None = None
    is_error: bool = False


class Refused(Exception):
    """The service refused a request of a call, or the call itself."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


class Call:
    """One call of a tool.

    The arguments may hold megabytes of base64. Each is handed out once, so that none is in memory during a wait.
    """

    def __init__(self, requests: OwnRequests, arguments: dict[str, Any]) -> None:
        self.requests = requests
        self._arguments = arguments

    def take(self, name: str) -> Any:
        """Return an argument and forget it. A missing one is None."""
        return self._arguments.pop(name, None)

    def take_all(self, names: Collection[str]) -> dict[str, Any]:
        """Return those of the arguments that were sent, and forget them."""
        return {name: self._arguments.pop(name) for name in names if name in self._arguments}

    def refuse_others(self, allowed: Collection[str]) -> None:
        """Raise Refused for an argument that the tool does not take, because a model may expect much of it."""
        if set(self._arguments) - set(allowed):
            names = ", ".join(allowed) or "none"
            raise refused_by(InvalidField("invalid_parameter", f"Unknown argument. Allowed: {names}."))


def check(reply: OwnReply) -> OwnReply:
    """Return the reply of a request that succeeded. Raise Refused for another one."""
    if reply.status >= 400:
        raise Refused(_describe(reply.status, reply.headers, reply.json()["error"]))
    return reply


def refused_by(error: Exception) -> Refused:
    """Return the refusal by an error of this service, as the API would describe it."""
    reply = errors.reply_to(error)
    headers = {name.lower(): value for name, value in reply.items()}
    return Refused(_describe(reply.status_code, headers, OwnReply(0, {}, reply.content).json()["error"]))


def _describe(status: int, headers: Mapping[str, str], error: Mapping[str, Any]) -> Outcome:
    """Return the outcome with the fields of the error envelope, the status, and when to try again."""
    described: dict[str, Any] = {name: value for name, value in error.items() if name != "support"}
    described["status"] = status
    if "retry-after" in headers:
        described["retry_after_seconds"] = int(headers["retry-after"])
    return Outcome({"error": described}, is_error=True)
