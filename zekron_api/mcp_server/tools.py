"""The tools. Each makes requests of the service to itself, so a tool has no rule of its own. They know no protocol."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from rest_framework.exceptions import NotFound

from workers.imaging.encoders import COMPRESSION_PARAMETER, FORMAT_PARAMETER, OutputFormat
from workers.models import Status
from zekron_api.endpoints.fields import json_type, refuse_more_than_any_model_takes, whole_number
from zekron_api.http.errors import InvalidField
from zekron_api.mcp_server import pictures, schemas
from zekron_api.mcp_server.call import Call, Outcome, Refused, check, refused_by
from zekron_api.mcp_server.pictures import Picture
from zekron_api.mcp_server.schemas import DEFAULT_FORMAT, MAX_WAIT_SECONDS, Schema

# PostgreSQL's ids are 64-bit integers.
_MAX_ID: Final = 2**63 - 1
_QUOTED_PROMPT: Final = "The price does not depend on the prompt."
_GENERATION_FIELDS: Final = ("id", "type", "model", "size", "seed", "cost")
_READ_FIELDS: Final = ("status", "prompt", "queue", "progress", "error", "created_at", "ended_at")

Run = Callable[[Call], Awaitable[Outcome]]


class Tool(NamedTuple):
    """A tool. `changes` tells whether it makes or charges anything."""

    title: str
    description: str
    arguments: Callable[[], Schema]
    result: Callable[[], Schema]
    run: Run
    changes: bool = False


async def call(tool: Tool, request: Call) -> Outcome:
    """Return the outcome of a call. Raise ClientLeft if nobody waits for it."""
    try:
        request.refuse_others(tool.arguments()["properties"])
        return await tool.run(request)
    except Refused as refusal:
        return refusal.outcome
    except InvalidField as error:
        return refused_by(error).outcome


async def _generate_image(request: Call) -> Outcome:
    return await _make(request, {})


async def _edit_image(request: Call) -> Outcome:
    images = request.take("images")
    if not isinstance(images, list) or not images:
        raise InvalidField("invalid_parameter", "images must be an array of at least one image to edit.")
    # Each may be a reply of megabytes, so too many must not be fetched first.
    refuse_more_than_any_model_takes(images)
    body = {"images": [await _source(request, item, position) for position, item in enumerate(images)]}
    # The request empties the body, and no image that was sent stays in memory during the wait.
    del images
    return await _make(request, body)


async def _make(request: Call, body: dict[str, Any]) -> Outcome:
    """Order the image of the arguments, and wait for it."""
    key = request.take("idempotency_key")
    if key is not None and not isinstance(key, str):
        raise InvalidField(
            "invalid_idempotency_key", f"idempotency_key must be a string, not {json_type(key)}."
        )
    body |= {FORMAT_PARAMETER: DEFAULT_FORMAT.value}
    body |= request.take_all(("prompt", "model", "size", "seed", "negative_prompt", "mask", FORMAT_PARAMETER))
    if body[FORMAT_PARAMETER] in (OutputFormat.JPEG, OutputFormat.WEBP):
        body[COMPRESSION_PARAMETER] = pictures.COMPRESSION
    reply = check(
        await request.requests.send(
            "POST",
            "/v1/generate",
            body=body,
            headers={
                "Prefer": f"wait={MAX_WAIT_SECONDS}",
                **({} if key is None else {"Idempotency-Key": key}),
            },
        )
    )
    data = reply.json()["data"]
    made = {"status": Status.COMPLETED.value, "remaining_balance": data["remaining_balance"]}
    return await _with_picture(data, {**made, "replayed": reply.headers.get("idempotent-replayed") == "true"})


async def _get_generation(request: Call) -> Outcome:
    generation_id = whole_number(request.take("id"), name="id", least=1, most=_MAX_ID)
    wait_seconds = whole_number(
        request.take("wait_seconds"), name="wait_seconds", least=0, most=MAX_WAIT_SECONDS
    )
    if generation_id is None:
        generation_id = await _newest_id(request)
    data = await _read(request, generation_id, query=f"include=b64_json&wait={wait_seconds or 0}")
    return await _with_picture(data, {name: data[name] for name in _READ_FIELDS})


async def _quote(request: Call) -> Outcome:
    count = request.take("source_images")
    body = {"prompt": _QUOTED_PROMPT, "images": 0 if count is None else count}
    body |= request.take_all(("model", "size"))
    reply = check(await request.requests.send("POST", "/v1/quote", body=body))
    return Outcome(reply.json()["data"])


async def _get_balance(request: Call) -> Outcome:
    reply = check(await request.requests.send("GET", "/v1/balance"))
    return Outcome(reply.json()["data"])


async def _newest_id(request: Call) -> int:
    reply = check(await request.requests.send("GET", "/v1/generations", query="limit=1"))
    rows: list[dict[str, Any]] = reply.json()["data"]["generations"]
    if not rows:
        raise refused_by(NotFound())
    return int(rows[0]["id"])


async def _read(request: Call, generation_id: int, *, query: str, keeps_slot: bool = True) -> dict[str, Any]:
    """Return the generation as the API describes it."""
    path = f"/v1/generations/{generation_id}"
    reply = check(await request.requests.send("GET", path, query=query, keeps_slot=keeps_slot))
    data: dict[str, Any] = reply.json()["data"]
    return data


async def _source(request: Call, item: object, position: int) -> dict[str, Any]:
    """Return a source image as the API takes it: as it was sent, or the image of a generation of the account."""
    if not isinstance(item, dict) or "generation_id" not in item:
        # The API checks it, and names the error.
        return item  # type: ignore[return-value]
    name = f"images[{position}].generation_id"
    generation_id = whole_number(item["generation_id"], name=name, least=1, most=_MAX_ID)
    if generation_id is None or "data" in item:
        raise InvalidField("invalid_parameter", f"images[{position}] must have either generation_id or data.")
    # The slot must be free before the next request, which may wait for one.
    data = await _read(request, generation_id, query="include=b64_json", keeps_slot=False)
    if (data["image"] or {}).get("b64_json") is None:
        message = f"{name} names a generation that has no image, or no longer. Images are kept for 24 hours."
        raise InvalidField("invalid_image", message)
    return {"data": data["image"]["b64_json"], "mime_type": data["image"]["mime_type"]}


async def _with_picture(data: Mapping[str, Any], more: Mapping[str, Any]) -> Outcome:
    """Return the outcome with the image of a described generation, if it has one."""
    image = data["image"] or {}
    fields = {
        **{name: data[name] for name in _GENERATION_FIELDS},
        **more,
        **{name: image.get(name) for name in ("url", "mime_type", "expires_at")},
    }
    content = image.get("b64_json")
    if content is None:
        return Outcome(fields)
    return Outcome(fields, await asyncio.to_thread(pictures.fit, Picture(content, image["mime_type"])))


_LOST: Final = (
    f"The call waits at most {MAX_WAIT_SECONDS} seconds. If it ends with the error generation_timeout, or the "
    "connection is lost, the generation goes on and is charged when it is completed. Then read it with "
    "get_generation, or repeat the call with the same idempotency_key. A new call without the key would make and "
    "charge another image."
)
_PAID: Final = (
    "Each call makes one image and is charged. Ask quote for the price first. A failed generation is free."
)

TOOLS: Final[Mapping[str, Tool]] = {
    "generate_image": Tool(
        "Generate an image",
        f"Make an image from a text. {_PAID} The result has the image, its url, cost and seed. {_LOST}",
        schemas.create_arguments,
        schemas.image_result,
        _generate_image,
        changes=True,
    ),
    "edit_image": Tool(
        "Edit an image",
        "Change one image, or combine several, as the prompt says. The originals stay as they are. "
        f"{_PAID} The result has the new image, its url, cost and seed. {_LOST}",
        schemas.edit_arguments,
        schemas.image_result,
        _edit_image,
        changes=True,
    ),
    "get_generation": Tool(
        "Read a generation",
        "Read one generation of the account, with its image once it is completed, and its place in the queue or its "
        "steps before that. It is free. After a lost connection, leave id out to read the newest generation.",
        schemas.read_arguments,
        schemas.generation_result,
        _get_generation,
    ),
    "quote": Tool(
        "Ask for the price",
        "Read the price of one image before it is made, whether the account can pay it, and how long its client would "
        "wait. It is free, and nothing is reserved.",
        schemas.quote_arguments,
        schemas.quote_result,
        _quote,
    ),
    "get_balance": Tool(
        "Read the balance",
        "Read the account's balance in USD, and how much of it is available. It is free.",
        schemas.no_arguments,
        schemas.balance_result,
        _get_balance,
    ),
}


def offered() -> Iterable[tuple[str, Tool]]:
    """Return the tools with their names. Without a model that edits, there is no tool for it."""
    return [(name, tool) for name, tool in TOOLS.items() if name != "edit_image" or schemas.editing_models()]
