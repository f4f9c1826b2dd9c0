"""Requests as OpenAI's clients send them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.zekron_api.callers import Caller

Send = Callable[..., Any]


@pytest.fixture
def create(me: Caller) -> Send:
    """Return a function that asks for an image."""

    def send(**body: Any) -> Any:
        return me.post("/v1/images/generations", {"prompt": "a boat", "size": "512x512", **body})

    return send


@pytest.fixture
def edit(me: Caller) -> Send:
    """Return a function that sends a form with files: names with their bytes, and other fields."""

    def send(files: dict[str, Any], **fields: Any) -> Any:
        form = {"prompt": "a boat", **fields}
        for name, contents in files.items():
            several = contents if isinstance(contents, list) else [contents]
            form[name] = [SimpleUploadedFile("upload", content) for content in several]
        return me.client.post("/v1/images/edits", form, headers={"Authorization": f"Bearer {me.key}"})

    return send
