"""Calls of the PyPI package `litellm`, which gives each error of the service an exception of its own."""

from pathlib import Path
from typing import Any

import litellm

from tests.clients import serving


def _generate(call: dict[str, Any]) -> dict[str, Any]:
    return _result(litellm.image_generation(**_options(call)))


def _edit(call: dict[str, Any]) -> dict[str, Any]:
    files = [Path(path).read_bytes() for path in call["files"]]
    return _result(litellm.image_edit(image=files, **_options(call)))


def _options(call: dict[str, Any]) -> dict[str, Any]:
    client = call["client"]
    own = {"api_base": client["base_url"], "api_key": client["key"], "prompt": "a boat"}
    return {"model": f"openai/{call['model']}", **own, **call["options"]}


def _result(response: Any) -> dict[str, Any]:
    return {"type": type(response).__name__, "body": response.model_dump(mode="json")}


def _describe(error: Exception) -> dict[str, Any]:
    return {
        "class": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "code": getattr(error, "code", None),
        "message": str(error),
    }


if __name__ == "__main__":
    serving.serve({"generate": _generate, "edit": _edit}, describe_error=_describe)
