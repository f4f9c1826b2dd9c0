"""The official clients of MCP, unmodified, against a real web process and a worker."""

import asyncio
import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mcp
import pytest
from PIL import Image

from billing import audit, keys
from billing.models import Account
from tests import factories, processes
from tests.clients import node
from tests.zekron_api.mcp_server.agents import MODES, connected
from workers.models import Generation, Status

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

TIMEOUT_SECONDS = 120
BOAT = {"prompt": "a boat", "size": "512x512"}


@pytest.fixture
def service(tmp_path: Path, objects_folder: Path) -> Iterator[processes.Server]:
    """Run a web process, and a worker in this process."""
    with (
        processes.worker(),
        processes.running(folder=tmp_path, objects_folder=objects_folder) as stack,
    ):
        yield processes.ready(stack.url)


def _key(balance_micros: int) -> tuple[Account, str]:
    owner = factories.account(balance_micros=balance_micros)
    return owner, keys.issue(account_id=owner.pk)[1]


def test_the_clients_of_both_languages_make_edit_and_read_images_for_one_charge_each(
    service: processes.Server, tmp_path: Path
) -> None:
    owner, key = _key(10_000_000)
    _, poor_key = _key(1000)
    url = f"{service.url}/mcp"
    with node.running(
        "mcp.mjs", url, key, poor_key, package="@modelcontextprotocol/sdk", output=tmp_path / "node"
    ) as program:
        assert program.wait(timeout_seconds=TIMEOUT_SECONDS) == 0, (tmp_path / "node").read_text()
        told = {line["step"]: line for line in program.lines()}
    assert told["server"]["name"] == "zekron"
    assert told["tools"]["names"] == [
        "generate_image",
        "edit_image",
        "get_generation",
        "quote",
        "get_balance",
    ]
    fields = {step: line["fields"] for step, line in told.items() if "fields" in line}
    assert fields["made"]["cost"] == fields["quote"]["cost"]
    assert fields["again"] == {**fields["made"], "replayed": True}
    assert (fields["edited"]["type"], fields["read"]["id"]) == ("edit", fields["edited"]["id"])
    for step in ("made", "again", "edited", "read", "later"):
        [image] = told[step]["images"]
        with Image.open(io.BytesIO(base64.b64decode(image["data"]))) as picture:
            assert (picture.format, picture.size, image["mimeType"]) == ("WEBP", (512, 512), "image/webp")
    assert (told["size"]["isError"], fields["size"]["error"]["type"]) == (True, "invalid_size")
    assert (told["poor"]["isError"], fields["poor"]["error"]["type"]) == (True, "insufficient_balance")
    assert fields["balance"]["total_generations"] == 2
    assert (told["wrong"]["code"], "invalid_api_key" in told["wrong"]["message"]) == (401, True)
    # It waited no longer, or the image was there before.
    assert told.get("left", {"name": "McpError"})["name"] == "McpError"
    for mode in MODES:
        asyncio.run(_use_python(url, key, mode=mode))
    assert Generation.objects.filter(account=owner, status=Status.COMPLETED).count() == 3 + 2 * len(MODES)
    owner.refresh_from_db()
    assert (owner.settlement_count, owner.reserved_micros) == (3 + 2 * len(MODES), 0)
    assert list(audit.audit()) == []


async def _use_python(url: str, key: str, *, mode: str) -> None:
    """Make and edit an image, as a client with this form of the protocol."""
    async with connected(url, key, mode=mode) as client:
        made: Any = await client.call_tool("generate_image", BOAT)
        source = {"generation_id": made.structured_content["id"]}
        edited = await client.call_tool("edit_image", {**BOAT, "images": [source]})
        assert (made.is_error, edited.is_error) == (False, False)
        assert edited.content[0].type == "image"
    # A client that cannot connect tells the status in its log alone.
    with pytest.raises((ExceptionGroup, mcp.MCPError)):
        async with connected(url, "zk_wrong", mode="legacy"):
            pass
