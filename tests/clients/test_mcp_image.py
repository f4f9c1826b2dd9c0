"""The npm package `mcp-image`, an MCP server for agents, unchanged: it makes and edits files through this service."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests import images
from tests.clients import calls
from tests.clients.calls import Program
from tests.clients.stack import Customer, Stack
from workers.models import Generation, Kind

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes, pytest.mark.clients]


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    """Start a client of the MCP server."""
    with calls.in_node("mcp_image.mjs", packages=["mcp-image", "@modelcontextprotocol/sdk"]) as program:
        yield program


def _generate(program: Program, me: Customer, folder: Path, **arguments: Any) -> dict[str, Any]:
    """Call the tool of a server with the customer's key, which writes to the folder."""
    client = {"base_url": f"{me.server.url}/v1", "key": me.key}
    return program.call(
        "generate", client=client, folder=str(folder), input={"prompt": "a boat", **arguments}
    )


def test_an_agent_gets_a_file_of_the_format_that_it_named(
    stack: Stack, program: Program, tmp_path: Path
) -> None:
    me = stack.customer()
    result = _generate(program, me, tmp_path, fileName="boat.jpg", aspectRatio="3:2")
    assert not result.get("isError"), result
    with Image.open(tmp_path / "boat.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (1536, 1024))
    row = Generation.objects.get()
    assert (row.model, row.kind) == ("zekron-image-1", Kind.CREATE)
    assert float(me.spent()) == row.cost_micros / 1_000_000


def test_an_agent_edits_a_file(stack: Stack, program: Program, tmp_path: Path) -> None:
    me = stack.customer()
    source = tmp_path / "source.png"
    images.halves(512, 512).save(source)
    result = _generate(program, me, tmp_path, fileName="edited.png", inputImagePath=str(source))
    assert not result.get("isError"), result
    with Image.open(tmp_path / "edited.png") as image:
        assert (image.format, image.size) == ("PNG", (1024, 1024))
    assert Generation.objects.get().kind == Kind.EDIT


def test_an_agent_is_told_that_the_account_is_empty(stack: Stack, program: Program, tmp_path: Path) -> None:
    result = _generate(program, stack.customer(balance_micros=0), tmp_path)
    assert result["isError"]
    assert "balance" in result["content"][0]["text"]
    assert not Generation.objects.exists()
