"""The address of a client, as the server saw it or as a trusted proxy told it."""

from ipaddress import IPv6Address, ip_address

from django.http import HttpRequest


def read(request: HttpRequest) -> str | None:
    """Return the address, or None for a client without one, such as one over a Unix socket."""
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    # An address of one link, such as fe80::1%eth0, is kept without the name of the link.
    return str(mapped or address).partition("%")[0]
