"""The limit of logins: by address, by name, and in all. Each login hashes a password, right or wrong."""

import hashlib
import math
import time
import unicodedata
from ipaddress import IPv6Network
from typing import Final

from django.conf import settings
from django.http import HttpRequest
from limits import RateLimitItemPerMinute

from zekron_api.http import client_address, rate_limit

# One client has all addresses of such a network, and could use another one for each login.
_IPV6_PREFIX_BITS: Final = 64


class LoginsExceeded(Exception):
    """An address, a name, or all clients together used up their logins of the last minute."""

    def __init__(self, rate: rate_limit.Rate) -> None:
        super().__init__()
        self.wait_seconds = max(1, rate.reset_at - math.floor(time.time()))


def consume(*, address: str | None, name: str) -> None:
    """Count one login; raise LoginsExceeded when it is over a limit. A login over one limit uses up no later one.

    An empty name stands for nobody, and has no limit of its own.
    """
    for limit, kind in (
        (settings.LOGINS_PER_MINUTE_OF_ADDRESS, f"address:{address}"),
        *([(settings.LOGINS_PER_MINUTE_OF_NAME, f"name:{digest_of(name)}")] if name else []),
        (settings.LOGINS_PER_MINUTE, "all"),
    ):
        rate, is_admitted = rate_limit.count(RateLimitItemPerMinute(limit, namespace="LOGINS"), kind)
        if not is_admitted:
            raise LoginsExceeded(rate)


def digest_of(name: str) -> str:
    """Return the text under which a name is counted, however it is spelled. It names nobody."""
    return hashlib.sha256(unicodedata.normalize("NFKC", name).strip().casefold().encode()).hexdigest()


def address_of(request: HttpRequest) -> str | None:
    """Return the address that stands for a client: its IPv4 address or the /64 network of its IPv6 address.

    None stands for all clients without an address, such as those over a Unix socket.
    """
    address = client_address.read(request)
    if address is None or ":" not in address:
        return address
    return str(IPv6Network((address, _IPV6_PREFIX_BITS), strict=False).network_address)
