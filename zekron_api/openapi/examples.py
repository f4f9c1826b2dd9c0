"""The published examples, as what was sent and what came back."""

from typing import Any, Final

Sample = dict[str, Any]

_TOKEN: Final = "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90"  # noqa: S105 (of nothing)
_OTHER_TOKEN: Final = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"  # noqa: S105
_CITY: Final = "A futuristic city with flying cars at sunset"
_RAINBOW: Final = "Add a rainbow in the sky"
_EXPIRES_AT: Final = "2024-04-08T12:00:00+00:00"
# The smallest picture that may be edited: 64 by 64 pixels of one colour.
_PNG: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAQMAAACQp+OdAAAAA1BMVEVGgrQW1EH0AAAAD0lEQVR42mNgGAWjgHwAAAJAAAHgTR1EAAAAAElFTkSu"
    "QmCC"
)

CREATE: Final[Sample] = {"prompt": _CITY, "model": "zekron-image-1", "size": "1024x1024"}
EDIT: Final[Sample] = {
    "prompt": _RAINBOW,
    "images": [{"data": _PNG, "mime_type": "image/png"}],
    "size": "1024x1024",
}
COMBINE: Final[Sample] = {
    "prompt": "Combine these two images: put the person from image 1 into the background of image 2",
    "images": [{"data": _PNG, "mime_type": "image/png"}, {"data": _PNG, "mime_type": "image/png"}],
    "size": "1024x1024",
}


def created(public_url: str) -> Sample:
    """The reply to CREATE."""
    return _generation(public_url, 42, _TOKEN, "create", _CITY, "0.0267", "9.9733")


def edited(public_url: str) -> Sample:
    """The reply to EDIT."""
    return _generation(public_url, 43, _OTHER_TOKEN, "edit", _RAINBOW, "0.0271", "9.9462")


def balance() -> Sample:
    """The balance after both."""
    return {
        "success": True,
        "data": {
            "balance": "9.9462",
            "total_spent": "0.0538",
            "total_generations": 2,
            "currency": "USD",
            "reserved": "0.0000",
            "available": "9.9462",
        },
    }


def history(public_url: str) -> Sample:
    """The history of both."""
    rows = [_row(edited(public_url)), _row(created(public_url))]
    pagination = {"total": 2, "limit": 10, "offset": 0, "has_more": False}
    return {"success": True, "data": {"generations": rows, "pagination": pagination}}


def _generation(
    public_url: str, identifier: int, token: str, kind: str, prompt: str, cost: str, left: str
) -> Sample:
    return {
        "success": True,
        "data": {
            "id": identifier,
            "token": token,
            "type": kind,
            "model": "zekron-image-1",
            "prompt": prompt,
            "size": "1024x1024",
            "image": {
                "url": f"{public_url}/v1/images/{token}",
                "b64_json": "iVBORw0KGgoAAAANSUhEUgAA",
                "mime_type": "image/png",
                "expires_at": _EXPIRES_AT,
            },
            "cost": cost,
            "remaining_balance": left,
        },
        "created_at": "2024-04-07T12:00:00+00:00",
    }


def _row(reply: Sample) -> Sample:
    data = reply["data"]
    same = {name: data[name] for name in ("id", "token", "prompt", "model", "size", "cost", "type")}
    return {
        **same,
        "status": "completed",
        "image_url": data["image"]["url"],
        "expires_at": _EXPIRES_AT,
        "created_at": reply["created_at"],
    }
