"""The Redis URL in Celery's format. The module knows neither Celery nor its other settings."""

from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.connection import parse_url

# The defaults of redis-py. Celery's own default verifies neither the certificate nor its host name.
_VERIFY: Final[dict[str, Any]] = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}


def celery_broker_url(redis_url: str) -> str:
    """Return the address of this Redis in Celery's format, without options for TLS."""
    if redis_url.startswith("unix://"):
        path, _, query = redis_url.removeprefix("unix://").partition("?")
        return f"redis+socket://{path}?virtual_host={query.removeprefix('db=') or 0}"
    parts = urlsplit(redis_url)
    options = dict(parse_qsl(parts.query))
    # redis-py takes the database from either place, the option first, and Celery from the path alone.
    path = f"/{options.pop('db')}" if "db" in options else parts.path
    kept = {name: value for name, value in options.items() if not name.startswith("ssl_")}
    return parts._replace(path=path, query=urlencode(kept)).geturl()


def celery_tls(redis_url: str) -> dict[str, Any] | bool:
    """Return Celery's options for TLS: redis-py's defaults, and the options of the URL as redis-py reads them.

    Return False for a Redis without TLS.
    """
    if not redis_url.startswith("rediss://"):
        return False
    options: dict[str, Any] = parse_url(redis_url)  # type: ignore[no-untyped-call] # redis-py types half of it
    named = {name: value for name, value in options.items() if name.startswith("ssl_")}
    return {**_VERIFY, **named}
