"""Calls of the PyPI package `langchain-community`, whose tool for images reads nothing but addresses."""

from typing import Any

from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper

from tests.clients import serving


def _generate(call: dict[str, Any]) -> dict[str, Any]:
    options = {"base_url": call["client"]["base_url"], "api_key": call["client"]["key"], **call["options"]}
    return {"text": DallEAPIWrapper(**options).run(call["prompt"])}


def _describe(error: Exception) -> dict[str, Any]:
    return {"class": type(error).__name__, "code": getattr(error, "code", None), "message": str(error)}


if __name__ == "__main__":
    serving.serve({"generate": _generate}, describe_error=_describe)
