"""The tools as the official Python client sees them, against the ASGI application and a worker."""

import base64
import io
import json
from typing import Any

import mcp
import pytest
from PIL import Image

from billing import audit
from billing.models import Account
from tests import factories, images
from tests.zekron_api.asgi_client import Header, Served
from tests.zekron_api.callers import Caller, caller
from tests.zekron_api.mcp_server.agents import MODES, agent, call, message
from tests.zekron_api.waiting.exchange import Serve, complete_all, in_thread, until
from workers.catalogue import catalogue
from workers.models import Generation, Status
from zekron_api.endpoints import sizes
from zekron_api.endpoints.fields import MAX_PROMPT_CHARACTERS, MAX_SOURCES
from zekron_api.mcp_server import schemas
from zekron_api.waiting import own_requests
from zekron_api.waiting.asgi_handler import WaitingRoom

pytestmark = pytest.mark.django_db(transaction=True)

BOAT = {"prompt": "a boat", "size": "512x512"}
NAMES = ["generate_image", "edit_image", "get_generation", "quote", "get_balance"]


def _picture(result: Any) -> Image.Image:
    """Return the picture of the result's only image."""
    [block] = [each for each in result.content if each.type == "image"]
    picture = Image.open(io.BytesIO(base64.b64decode(block.data)))
    assert block.mime_type == f"image/{(picture.format or '').lower()}"
    return picture


def _error(result: Any) -> tuple[bool, int, str]:
    error = result.structured_content["error"]
    assert {"message", "code", "type"} <= set(error)
    [text] = result.content
    assert json.loads(text.text) == {"error": error}
    return result.is_error, error["status"], error["type"]


def _charges(me: Caller) -> tuple[int, int]:
    """Return how many images the account has paid, and what it holds."""
    account = Account.objects.get(pk=me.account.pk)
    assert list(audit.audit()) == []
    return account.settlement_count, account.reserved_micros


@pytest.mark.parametrize("mode", MODES)
def test_the_tools_tell_the_limits_of_the_api(served: Serve, me: Caller, mode: str) -> None:
    async def scenario(app: WaitingRoom) -> None:
        async with agent(app, me.key, mode=mode) as client:
            listed = (await client.list_tools()).tools
        assert [tool.name for tool in listed] == NAMES
        create, edit = listed[0].input_schema["properties"], listed[1].input_schema["properties"]
        assert create["model"]["enum"] == list(catalogue())
        assert create["prompt"]["maxLength"] == MAX_PROMPT_CHARACTERS
        assert all(name in create["size"]["description"] for name in sizes.SIZES)
        assert edit["images"]["maxItems"] == MAX_SOURCES
        # The model of the file takes masks and no negative prompt.
        assert ("mask" in edit, "mask" in create, "negative_prompt" in create) == (True, False, False)
        assert "get_generation" in (listed[0].description or "")
        assert [tool.output_schema is not None for tool in listed] == [True] * 5
        changing = {tool.name for tool in listed if tool.annotations and not tool.annotations.read_only_hint}
        assert changing == {"generate_image", "edit_image"}

    served(scenario)


@pytest.mark.parametrize("mode", MODES)
def test_an_agent_asks_for_the_price_makes_an_image_edits_it_and_reads_it_again(
    served: Serve, me: Caller, engine: factories.StandInEngine, mode: str
) -> None:
    async def scenario(app: WaitingRoom) -> None:
        async with agent(app, me.key, mode=mode) as client:
            quote = (await client.call_tool("quote", {"size": "512x512"})).structured_content
            made: Any = await client.call_tool("generate_image", {**BOAT, "seed": 7})
            told = made.structured_content
            assert (made.is_error, told["seed"], told["cost"]) == (False, 7, quote["cost"])
            assert told["url"].startswith("http://localhost:8000/v1/images/")
            assert (_picture(made).format, _picture(made).size) == ("WEBP", (512, 512))
            assert json.loads(made.content[-1].text) == told
            sent = {"data": images.picture(), "mime_type": "image/png"}
            edited = await client.call_tool(
                "edit_image", {**BOAT, "images": [{"generation_id": told["id"]}, sent]}
            )
            assert (edited.is_error, edited.structured_content["type"]) == (False, "edit")
            assert [source.size for source in engine.orders[-1].sources] == [(512, 512), (96, 64)]
            read = await client.call_tool("get_generation", {"id": edited.structured_content["id"]})
            assert (read.structured_content["status"], _picture(read).size) == ("completed", (512, 512))
            assert read.structured_content["url"] == edited.structured_content["url"]
            balance = (await client.call_tool("get_balance", {})).structured_content
            assert balance["balance"] == edited.structured_content["remaining_balance"]
        assert await in_thread(lambda: _charges(me)) == (2, 0)

    served(scenario)


def test_the_same_key_twice_is_one_charge_and_another_request_under_it_is_refused(
    served: Serve, me: Caller, engine: factories.StandInEngine
) -> None:
    async def scenario(app: WaitingRoom) -> None:
        async with agent(app, me.key) as client:
            keyed = {**BOAT, "idempotency_key": "one"}
            first, again = [await client.call_tool("generate_image", keyed) for _ in range(2)]
            other = await client.call_tool("generate_image", {**keyed, "prompt": "a house"})
        assert first.structured_content["replayed"] is False
        assert again.structured_content == {**first.structured_content, "replayed": True}
        assert _error(other) == (True, 422, "idempotency_mismatch")
        assert await in_thread(lambda: _charges(me)) == (1, 0)

    served(scenario)


@pytest.mark.parametrize(
    ("tool", "arguments", "status", "error_type"),
    [
        ("generate_image", {**BOAT, "size": "7x7"}, 400, "invalid_size"),
        ("generate_image", {"size": "512x512"}, 400, "missing_prompt"),
        ("generate_image", {**BOAT, "prompt": "\ud800"}, 400, "invalid_prompt"),
        ("generate_image", {**BOAT, "n": 3}, 400, "invalid_parameter"),
        ("generate_image", {**BOAT, "images": []}, 400, "invalid_parameter"),
        ("generate_image", {**BOAT, "idempotency_key": 1}, 400, "invalid_idempotency_key"),
        ("generate_image", {**BOAT, "idempotency_key": "\ud800"}, 400, "invalid_idempotency_key"),
        ("generate_image", {**BOAT, "idempotency_key": "\u00e9\r\n"}, 400, "invalid_idempotency_key"),
        ("generate_image", {**BOAT, "output_format": ["webp"]}, 400, "invalid_parameter"),
        ("edit_image", BOAT, 400, "invalid_parameter"),
        ("edit_image", {**BOAT, "images": [{"data": "!"}]}, 400, "invalid_base64"),
        ("edit_image", {**BOAT, "images": ["!"]}, 400, "invalid_base64"),
        ("edit_image", {**BOAT, "images": [{"generation_id": 1, "data": "QQ=="}]}, 400, "invalid_parameter"),
        ("edit_image", {**BOAT, "images": [{"generation_id": "1"}]}, 400, "invalid_parameter"),
        ("edit_image", {**BOAT, "images": [{"generation_id": 999_999_999}]}, 404, "not_found"),
        ("edit_image", {**BOAT, "images": [{"generation_id": 999_999_999}] * 3}, 400, "too_many_images"),
        ("quote", {"source_images": False}, 400, "invalid_base64"),
        ("quote", {"source_images": 3}, 400, "too_many_images"),
        ("quote", {"model": "none"}, 400, "invalid_model"),
        ("get_generation", {"id": 999_999_999}, 404, "not_found"),
        ("get_generation", {"id": "../balance"}, 400, "invalid_parameter"),
        ("get_generation", {"wait_seconds": 51}, 400, "invalid_parameter"),
        ("get_generation", {}, 404, "not_found"),
        ("get_balance", {"id": 1}, 400, "invalid_parameter"),
    ],
)
@pytest.mark.usefixtures("idle_worker")
def test_what_a_tool_cannot_take_is_an_error_of_the_tool_and_costs_nothing(
    room: Served, bearer: Header, tool: str, arguments: dict[str, Any], status: int, error_type: str
) -> None:
    result = call(room, bearer, tool, arguments)
    error = result["structuredContent"]["error"]
    assert (result["isError"], error["status"], error["type"]) == (True, status, error_type)
    assert error["code"].startswith(error_type.upper())
    assert Generation.objects.count() == 0


@pytest.mark.usefixtures("idle_worker")
def test_a_poor_account_is_told_so_and_another_ones_generation_is_not_found(
    served: Serve, me: Caller, stranger: Caller
) -> None:
    poor, theirs = caller(balance_micros=1000), factories.generation_in(Status.COMPLETED, stranger.account)

    async def scenario(app: WaitingRoom) -> None:
        async with agent(app, poor.key) as client:
            assert _error(await client.call_tool("generate_image", BOAT)) == (
                True,
                402,
                "insufficient_balance",
            )
            assert (await client.call_tool("quote", {})).structured_content["affordable"] is False
        async with agent(app, me.key) as client:
            source = {"generation_id": theirs.pk}
            for tool, arguments in (
                ("get_generation", {"id": theirs.pk}),
                ("edit_image", {"images": [source]}),
            ):
                assert _error(await client.call_tool(tool, {**arguments, **_prompt_of(tool)})) == (
                    True,
                    404,
                    "not_found",
                )

    served(scenario)


def _prompt_of(tool: str) -> dict[str, str]:
    return {"prompt": "x"} if tool == "edit_image" else {}


def test_a_source_without_an_image_is_refused(served: Serve, me: Caller) -> None:
    failed = factories.generation_in(Status.FAILED, me.account)
    gone = factories.generation_in(Status.COMPLETED, me.account)
    factories.expire_image(gone.pk)

    async def scenario(app: WaitingRoom) -> None:
        async with agent(app, me.key) as client:
            for row in (failed, gone):
                arguments = {**BOAT, "images": [{"generation_id": row.pk}]}
                assert _error(await client.call_tool("edit_image", arguments)) == (True, 400, "invalid_image")

    served(scenario)


@pytest.mark.usefixtures("idle_worker")
def test_a_client_that_leaves_in_mid_call_reads_its_generation_or_repeats_the_call(
    served: Serve, me: Caller
) -> None:
    async def scenario(app: WaitingRoom) -> None:
        arguments = {**BOAT, "idempotency_key": "mine"}
        sent = message(app, me.key, "tools/call", {"name": "generate_image", "arguments": arguments})
        await until(lambda: len(app.waiters) == 1)
        sent.leave()
        await sent.task
        assert len(app.waiters) == 0
        async with agent(app, me.key) as client:
            newest = await client.call_tool("get_generation", {})
            assert newest.structured_content["status"] == "queued"
            await in_thread(complete_all)
            again = await client.call_tool("generate_image", arguments)
        assert again.structured_content["id"] == newest.structured_content["id"]
        assert again.structured_content["replayed"] is True
        assert await in_thread(lambda: _charges(me)) == (1, 0)

    served(scenario)


@pytest.mark.usefixtures("idle_worker")
def test_a_call_that_waits_too_long_names_the_generation_that_goes_on(
    served: Serve, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zekron_api.mcp_server.tools.MAX_WAIT_SECONDS", 1)

    async def scenario(app: WaitingRoom) -> None:
        async with agent(app, me.key) as client:
            sent = message(app, me.key, "tools/call", {"name": "generate_image", "arguments": BOAT})
            await until(lambda: len(app.waiters) == 1)
            row = await in_thread(lambda: factories.claim(generation_id=Generation.objects.get().pk))
            await sent.task
            error = json.loads(sent.body)["result"]["structuredContent"]["error"]
            assert (error["type"], error["generation_id"]) == ("generation_timeout", row.pk)
            await in_thread(lambda: factories.finish(row, now=None))
            read = await client.call_tool("get_generation", {"id": row.pk, "wait_seconds": 1})
            assert read.structured_content["status"] == "completed"
        assert await in_thread(lambda: _charges(me)) == (1, 0)

    served(scenario)


def test_an_unknown_tool_is_an_error_of_the_protocol(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        async with agent(app, me.key) as client:
            with pytest.raises(mcp.MCPError, match=r"Unknown tool\. Allowed: generate_image") as raised:
                await client.call_tool("make_coffee", {})
            assert raised.value.code == -32602

    served(scenario)


def test_an_error_that_nobody_expected_says_nothing_of_itself(
    served: Serve, me: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: object) -> bytes:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(own_requests, "_write", broken)

    async def scenario(app: WaitingRoom) -> None:
        async with agent(app, me.key) as client:
            result = await client.call_tool("quote", {})
        assert _error(result) == (True, 500, "internal_error")
        assert "a secret" not in str(result)
        assert "ZeroDivisionError" in caplog.text

    served(scenario)


def test_a_service_without_a_model_that_edits_offers_no_such_tool(
    served: Serve, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas, "editing_models", list)

    async def scenario(app: WaitingRoom) -> None:
        async with agent(app, me.key) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == [
                name for name in NAMES if name != "edit_image"
            ]
            with pytest.raises(mcp.MCPError):
                await client.call_tool("edit_image", BOAT)

    served(scenario)


def test_another_format_is_in_the_file_at_the_address(
    served: Serve, me: Caller, engine: factories.StandInEngine
) -> None:
    async def scenario(app: WaitingRoom) -> None:
        async with agent(app, me.key) as client:
            for name in ("png", "jpeg"):
                made = await client.call_tool("generate_image", {**BOAT, "output_format": name})
                assert made.structured_content["mime_type"] == f"image/{name}"
                assert (_picture(made).format or "").lower() == name

    served(scenario)
