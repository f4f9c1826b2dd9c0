"""The addresses that webhooks may call. A receiver must be on the public internet, whoever answers for its name.

A name is resolved once for each attempt, all of its addresses are checked, and the connection goes to a checked one.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from django.conf import settings

from workers.webhook_models import MAX_URL_CHARACTERS

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PORTS: Final = (443, 8443)
# A request of the API waits this long at most for the look-up of a name.
MAX_LOOKUP_SECONDS: Final = 1.0
_URL: Final = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<target>[^#]*)", re.IGNORECASE)
_AUTHORITY: Final = re.compile(
    r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?", re.IGNORECASE
)
_PRINTABLE: Final = re.compile(r"[!-~]+")
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
# Resolvers of C read a name whose last label is a number as an IPv4 address: 2130706433, 0177.0.0.1, 0x7f.1.
_NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_LOOPBACK: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
# Everything of IANA's registries of special addresses that is not one host of the public internet, and the address at
# which the machines of Azure reach their host. The library's `is_global` differs between releases of Python.
_REFUSED_V4: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
# Global unicast is the only block of IPv6 that is allowed. Loopback, unique local, link-local, multicast, mapped and
# translated addresses (::ffff:0:0/96, 64:ff9b::/96, 64:ff9b:1::/48) lie outside. 2001::/23 has Teredo, and 2002::/16 is
# 6to4.
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6: Final = tuple(
    map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))
)
# An attempt ends after seconds, but a look-up may take a resolver longer, and nothing interrupts it.
_lookups: Final = ThreadPoolExecutor(256, thread_name_prefix="webhook lookup")


class RefusedUrl(Exception):
    """The URL is none that a webhook may have. The message ends a sentence that begins with the field's name."""


class RefusedAddress(Exception):
    """One of the receiver's addresses is not on the public internet. What answers there is never told."""


class Unresolved(Exception):
    """The name of the receiver has no address now."""


@dataclass(frozen=True)
class Target:
    """The parts of a URL that was checked as far as that is possible without a look-up."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_usual = self.port == {"https": 443, "http": 80}[self.scheme]
        return host if is_usual else f"{host}:{self.port}"


def parse(url: str) -> Target:
    """Return the parts of a URL. Raise RefusedUrl for one that no webhook may have."""
    if len(url) > MAX_URL_CHARACTERS:
        raise RefusedUrl(f"must have at most {MAX_URL_CHARACTERS} characters.")
    found = _URL.fullmatch(url)
    if found is None or not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise RefusedUrl(
            "must be an https:// URL of printable ASCII characters without a fragment, a space or a backslash."
        )
    scheme = found["scheme"].lower()
    if scheme == "http" and not settings.WEBHOOK_ALLOW_LOOPBACK:
        raise RefusedUrl("must begin with https://.")
    if "@" in found["authority"]:
        raise RefusedUrl("must not contain a user name or a password.")
    parts = _AUTHORITY.fullmatch(found["authority"])
    if parts is None:
        raise RefusedUrl(
            "must have a host. Write the name of an international domain in its ASCII form, xn--…."
        )
    host = _check_host(parts["host"].lower())
    port = int(parts["port"]) if parts["port"] else {"https": 443, "http": 80}[scheme]
    if not settings.WEBHOOK_ALLOW_LOOPBACK and port not in PORTS:
        raise RefusedUrl(f"must have one of the ports {' and '.join(map(str, PORTS))}.")
    if not 1 <= port <= 65535:
        raise RefusedUrl("must have a port from 1 to 65535.")
    target = found["target"]
    return Target(scheme, host, port, target if target.startswith("/") else f"/{target}")


def check(target: Target, addresses: Sequence[Address]) -> None:
    """Raise RefusedAddress unless the receiver may be called at every one of its addresses."""
    if not addresses:
        raise Unresolved
    if settings.WEBHOOK_ALLOW_LOOPBACK and all(_is_loopback(address) for address in addresses):
        return
    is_public = all(is_global(address) for address in addresses)
    if not is_public or target.scheme != "https" or target.port not in PORTS:
        raise RefusedAddress


def is_global(address: Address) -> bool:
    """Return whether the address is that of a host on the public internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address in _GLOBAL_V6 and not any(address in network for network in _REFUSED_V6)


async def resolve(host: str, port: int) -> Sequence[Address]:
    """Return the addresses of a host, as `look_up` does."""
    return await asyncio.get_running_loop().run_in_executor(_lookups, look_up, host, port)


def look_up(host: str, port: int) -> Sequence[Address]:
    """Return the addresses that a name has now, or the address that it is. Raise Unresolved."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unresolved from None
    return list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))


def refuse_now(url: str) -> None:
    """Raise RefusedUrl for a URL that no webhook may have, or whose name has an address now that may not be called.

    A name that has no address yet passes, and so does one whose server takes its time. Each attempt checks again.
    """
    target = parse(url)
    try:
        check(target, _lookups.submit(look_up, target.host, target.port).result(MAX_LOOKUP_SECONDS))
    except RefusedAddress:
        raise RefusedUrl("must not lead to a private or reserved address.") from None
    except (Unresolved, TimeoutError):
        return


def _is_loopback(address: Address) -> bool:
    return any(address.version == network.version and address in network for network in _LOOPBACK)


def _check_host(host: str) -> str:
    """Return the host without brackets. Raise RefusedUrl for a malformed one, or for a literal that is refused."""
    is_bracketed = host.startswith("[")
    labels = host.removesuffix(".").split(".")
    if is_bracketed or _NUMERIC.fullmatch(labels[-1]):
        try:
            literal: Address = (
                ipaddress.IPv6Address(host[1:-1]) if is_bracketed else ipaddress.IPv4Address(host)
            )
        except ValueError:
            raise RefusedUrl("must have a valid host. An IPv4 address has four decimal numbers.") from None
        if not is_global(literal) and not (settings.WEBHOOK_ALLOW_LOOPBACK and _is_loopback(literal)):
            raise RefusedUrl("must not name a private or reserved address.")
        return str(literal)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise RefusedUrl("must have a valid host.")
    return host
