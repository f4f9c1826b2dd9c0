"""The origins of pages whose scripts may call the API, as `scheme://host` or `scheme://host:port` (RFC 6454)."""

from urllib.parse import urlsplit

from environs import ValidationError


def parse(value: str | list[str]) -> list[str]:
    """Return the origins between the commas, in small letters as browsers send them.

    Blanks, empty places and a slash at the end do not count. Raise ValidationError for anything but an origin.
    """
    if not isinstance(value, str):
        # environs also parses the default.
        return value
    return [_origin(name) for name in map(str.strip, value.split(",")) if name]


def _origin(name: str) -> str:
    origin = name.lower().removesuffix("/")
    try:
        parts = urlsplit(origin)
        is_origin = parts.hostname and parts.port != 0 and origin == f"{parts.scheme}://{parts.netloc}"
    except ValueError:
        is_origin = False
    if not is_origin or parts.scheme not in {"http", "https"} or set("@*") & set(origin):
        raise ValidationError(f"names {name!r}, which is not an origin such as https://app.example.com")
    return origin
