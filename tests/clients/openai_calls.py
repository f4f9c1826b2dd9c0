"""Calls of the PyPI package `openai`: what a caller gets, with the names of its types.

The program also runs in environments with another release of the package.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai

from tests.clients import serving

_PNG = "image/png"
# Every way in which a file can be given, by its path.
WAYS: dict[str, Callable[[Path], Any]] = {
    "file": lambda path: path.open("rb"),
    "bytes": Path.read_bytes,
    "path": lambda path: path,
    "named": lambda path: ("boat.png", path.read_bytes()),
    "typed": lambda path: ("boat.png", path.read_bytes(), _PNG),
    "headed": lambda path: (None, path.read_bytes(), "application/octet-stream", {"X-Part": "1"}),
}


def _call(call: dict[str, Any]) -> dict[str, Any]:
    return _call_async(call) if call["client"]["is_async"] else _call_sync(call)


def _call_sync(call: dict[str, Any]) -> dict[str, Any]:
    with openai.OpenAI(**_options(call)) as client:
        if call["call"] == "list_models":
            return {"models": [model.to_dict() for model in client.models.list()]}
        if call.get("body", {}).get("stream"):
            return {
                "events": [_event(event) for event in _method(client, call, raw=False)(**_arguments(call))]
            }
        return _result(_method(client, call, raw=True)(**_arguments(call)))


def _call_async(call: dict[str, Any]) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        async with openai.AsyncOpenAI(**_options(call)) as client:
            if call["call"] == "list_models":
                return {"models": [model.to_dict() async for model in client.models.list()]}
            if call.get("body", {}).get("stream"):
                stream = await _method(client, call, raw=False)(**_arguments(call))
                return {"events": [_event(event) async for event in stream]}
            return _result(await _method(client, call, raw=True)(**_arguments(call)))

    return asyncio.run(run())


def _options(call: dict[str, Any]) -> dict[str, Any]:
    given = call["client"]
    return {
        "base_url": given["base_url"],
        "api_key": given["key"],
        **({} if given["max_retries"] is None else {"max_retries": given["max_retries"]}),
    }


def _method(client: Any, call: dict[str, Any], *, raw: bool) -> Any:
    resource, name = {
        "generate": (client.images, "generate"),
        "edit": (client.images, "edit"),
        "vary": (client.images, "create_variation"),
        "retrieve_model": (client.models, "retrieve"),
    }[call["call"]]
    return getattr(resource.with_raw_response if raw else resource, name)


def _arguments(call: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments. Fields that only this service has go where the package takes them."""
    if call["call"] == "retrieve_model":
        return {"model": call["model"]}
    body = dict(call.get("body", {}))
    extra = {name: body.pop(name) for name in ("seed", "metadata", "negative_prompt") if name in body}
    arguments = {**body, **({"extra_body": extra} if extra else {}), "extra_headers": call.get("headers")}
    if files := [WAYS[call["way"]](Path(path)) for path in call.get("files", [])]:
        arguments["image"] = files[0] if call.get("one") else files
    if call.get("mask"):
        arguments["mask"] = WAYS[call["way"]](Path(call["mask"]))
    return arguments


def _result(response: Any) -> dict[str, Any]:
    body = response.parse()
    return {
        "body": body.to_dict(),
        "types": [type(body).__name__, type(getattr(body, "usage", None)).__name__],
        "request_id": body._request_id if hasattr(body, "_request_id") else response.request_id,
        "headers": dict(response.headers),
        **(
            {"seeds": [image.seed for image in body.data], "cost": body.usage.cost}
            if _has_images(body)
            else {}
        ),
    }


def _has_images(body: Any) -> bool:
    return type(body).__name__ == "ImagesResponse"


def _event(event: Any) -> dict[str, Any]:
    return {**event.to_dict(), "class": type(event).__name__}


def _describe(error: Exception) -> dict[str, Any]:
    names = ("code", "param", "type", "request_id")
    described = {name: getattr(error, name, None) for name in names}
    return {
        "class": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "message": str(error),
        **described,
    }


if __name__ == "__main__":
    names = ("generate", "edit", "vary", "list_models", "retrieve_model")
    serving.serve(dict.fromkeys(names, _call), describe_error=_describe)
