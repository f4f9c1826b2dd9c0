"""The count and the time of replies: at their beginning, by route, and with few labels whatever clients send."""

import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY

from tests import factories
from tests.zekron_api import asgi_client
from tests.zekron_api.callers import Caller
from workers.engine.interface import OutOfDeviceMemory
from zekron_api.waiting import sending
from zekron_api.waiting.observed_reply import ObservedReply

pytestmark = pytest.mark.django_db(transaction=True)


def counted(route: str, method: str, status: int) -> float:
    labels = {"route": route, "method": method, "status": str(status)}
    return REGISTRY.get_sample_value("zekron_http_requests_total", labels) or 0.0


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("zekron_refused_total", {"reason": reason}) or 0.0


def image_replies() -> float:
    return REGISTRY.get_sample_value("zekron_reply_seconds_count") or 0.0


def test_a_reply_that_waited_for_its_image_is_counted_once_with_its_own_status(
    me: Caller, engine: factories.StandInEngine
) -> None:
    before = counted("v1/generate", "POST", 200), counted("v1/generate", "POST", 202), image_replies()
    body = b'{"prompt": "a boat", "size": "512x512"}'
    headers = [("authorization", f"Bearer {me.key}"), ("content-type", "application/json")]
    with asgi_client.served() as server:
        assert server.send("POST", "/v1/generate", headers, body).status_code == 200
    assert counted("v1/generate", "POST", 200) == before[0] + 1
    assert counted("v1/generate", "POST", 202) == before[1]
    assert image_replies() == before[2] + 1


def test_paths_without_a_route_and_invented_methods_make_no_labels_of_their_own() -> None:
    before = counted("-", "GET", 404), counted("-", "other", 404)
    with asgi_client.served() as server:
        assert server.send("GET", "/zk_secret").status_code == 404
        assert server.send("BREW", "/pot").status_code == 404
    assert (counted("-", "GET", 404), counted("-", "other", 404)) == (before[0] + 1, before[1] + 1)
    with_secret = [
        sample
        for family in REGISTRY.collect()
        for sample in family.samples
        if "zk_secret" in str(sample.labels)
    ]
    assert not with_secret


def test_a_request_that_is_refused_is_counted_by_the_type_of_its_error(me: Caller) -> None:
    before = refused("service_busy"), refused("unauthorized")
    assert me.generate().status_code == 503
    assert me.client.get("/v1/balance").status_code == 401
    assert (refused("service_busy"), refused("unauthorized")) == (before[0] + 1, before[1] + 1)


def test_an_error_after_acceptance_is_no_refusal(me: Caller, engine: factories.StandInEngine) -> None:
    engine._failures.extend([OutOfDeviceMemory()] * 2)
    before = refused("generation_failed")
    assert me.generate().status_code == 500
    assert refused("generation_failed") == before


class Server:
    """The part of a server that sends, and knows the connection."""

    transport, disconnected = "a transport", True

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


def test_a_client_that_left_before_its_reply_is_counted_as_such() -> None:
    before = counted("-", "PUT", 499)
    with ObservedReply({"method": "PUT"}, Server().send):
        pass
    assert counted("-", "PUT", 499) == before + 1


def test_an_exception_that_the_server_answers_is_counted_as_500() -> None:
    before = counted("-", "PUT", 500)
    with pytest.raises(LookupError), ObservedReply({"method": "PUT"}, Server().send):
        raise LookupError
    assert counted("-", "PUT", 500) == before + 1


def test_the_connection_of_an_observed_reply_is_still_known() -> None:
    server = Server()
    with ObservedReply({"method": "PUT"}, server.send) as reply:
        assert sending.is_disconnected(reply.send)
        assert reply.transport == "a transport"
        asyncio.run(reply.send({"type": "http.response.start", "status": 200, "headers": []}))
    assert server.sent
