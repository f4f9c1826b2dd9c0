"""Addresses of the local PostgreSQL and Redis."""

from pathlib import Path
from urllib.parse import quote


def postgres_url(var: Path) -> str:
    return f"postgres://postgres@{quote(str(var / 'postgres'), safe='')}/zekron"


def redis_url(var: Path) -> str:
    return f"unix://{quote(str(var / 'redis' / 'redis.sock'))}?db=0"


def celery_broker_url(redis_url: str) -> str:
    """The same Redis in Celery's spelling."""
    if redis_url.startswith("unix://"):
        path, _, query = redis_url.removeprefix("unix://").partition("?")
        return f"redis+socket://{path}?virtual_host={query.removeprefix('db=') or 0}"
    return redis_url
