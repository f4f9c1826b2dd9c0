"""The parser of STORAGE_URL. It imports no client of any store."""

import re
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from zekron_api.config.env import InvalidVariable

_FORMS: Final = "is neither of the form file:///an/absolute/folder nor s3://bucket/prefix?endpoint_url=https://host&region=name"
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?")
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}")


def object_store(url: str) -> dict[str, object]:
    """Return the entry of Django's STORAGES for a folder or a bucket.

    Raises InvalidVariable, which ends the process with one line and does not quote the URL.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme == "s3":
            return _bucket(parts)
    except ValueError:
        # urlsplit refuses a port that is not a number, and an unpaired bracket.
        raise _refusal(_FORMS) from None
    if parts.scheme != "file" or parts.netloc or not parts.path.startswith("/"):
        raise _refusal(_FORMS)
    return {
        "BACKEND": "storage.file_store.FileStore",
        "OPTIONS": {
            "location": unquote(parts.path),
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        },
    }


def _bucket(parts: SplitResult) -> dict[str, object]:
    if "@" in parts.netloc:
        raise _refusal("holds credentials; give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if not _BUCKET.fullmatch(parts.netloc) or not _PREFIX.fullmatch(parts.path) or parts.fragment:
        raise _refusal(_FORMS)
    return {
        "BACKEND": "storage.s3_store.S3Store",
        "OPTIONS": {
            "bucket_name": parts.netloc,
            "location": parts.path.strip("/"),
            **_options(parts.query),
        },
    }


def _options(query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    options = dict(pairs)
    if len(options) < len(pairs) or not options.keys() <= {"endpoint_url", "region"}:
        raise _refusal("has other options than one endpoint_url and one region")
    if "endpoint_url" in options and not _is_server(options["endpoint_url"]):
        raise _refusal("has an endpoint_url that is not of the form https://host or http://host:port")
    if "region" in options and not _REGION.fullmatch(options["region"]):
        raise _refusal("has a region that is not made of lower-case letters, digits and hyphens")
    return {{"region": "region_name"}.get(name, name): value for name, value in options.items()}


def _is_server(url: str) -> bool:
    parts = urlsplit(url)
    has_more = "@" in parts.netloc or parts.query or parts.fragment or parts.port == 0
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not has_more


def _refusal(why: str) -> InvalidVariable:
    return InvalidVariable("STORAGE_URL", why)
