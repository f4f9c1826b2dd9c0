"""The grants of a key: scopes, addresses, models and limits of its own, checked in one place for every way to a key."""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from billing import money
from billing.bounds import MAX_OPEN, MAX_REQUESTS_PER_MINUTE, MIN_LIMIT
from billing.models import USUAL_SCOPES, ApiKey


class Scope(StrEnum):
    """A kind of requests that a key may make."""

    GENERATE = "generate"
    READ = "read"
    DELETE = "delete"
    USAGE = "usage"
    KEYS = "keys"
    WEBHOOKS = "webhooks"
    BILLING = "billing"


# The scopes of keys of older releases, and of a new key for which nobody names scopes.
DEFAULT_SCOPES: Final = tuple(Scope(name) for name in USUAL_SCOPES)
MAX_ADDRESSES: Final = 50
MAX_MODELS: Final = 50
MAX_MODEL_CHARACTERS: Final = 200
# The bits of an IPv6 address before the IPv4 address that it stands for.
_MAPPED_BITS: Final = 96
# The length of the column.
MAX_NAME_CHARACTERS: Final = 100


class InvalidGrant(ValueError):
    """A value that no key can have. `field` is its name in `Grants`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, kw_only=True)
class Grants:
    """The grants of a key. None stands for no bound of the key's own, so that only the account's holds.

    `allowed_ips` are networks such as 192.0.2.0/24 or 2001:db8::/32. `spend_limit_micros` is the most that the key may
    have spent and reserved together in each `spend_period`.
    """

    scopes: tuple[str, ...] = DEFAULT_SCOPES
    expires_at: datetime | None = None
    allowed_ips: tuple[str, ...] | None = None
    allowed_models: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    open_limit: int | None = None
    spend_limit_micros: int | None = None
    spend_period: str = ApiKey.SpendPeriod.MONTH

    def admits_address(self, address: str) -> bool:
        """Return whether a request from this address may use the key."""
        return self.allowed_ips is None or _is_within(_read_address(address), self.allowed_ips)

    def admits_model(self, name: str) -> bool:
        """Return whether the key may ask for pictures of the model."""
        return self.allowed_models is None or name in self.allowed_models


DEFAULT_GRANTS: Final = Grants()


def check(grants: Grants) -> Grants:
    """Return the grants in their normal form. Raises InvalidGrant, whose message begins with the field's name."""
    scopes = _unique("scopes", grants.scopes or ())
    if unknown := set(scopes) - set(Scope):
        raise InvalidGrant(
            "scopes", f"scopes must be among {', '.join(Scope)}, not {', '.join(sorted(unknown))}."
        )
    _check_number("requests_per_minute", grants.requests_per_minute, most=MAX_REQUESTS_PER_MINUTE)
    _check_number("open_limit", grants.open_limit, most=MAX_OPEN)
    if grants.spend_period not in ApiKey.SpendPeriod.values:
        periods = ", ".join(ApiKey.SpendPeriod.values)
        raise InvalidGrant("spend_period", f"The period of spend_limit must be one of {periods}.")
    if grants.spend_limit_micros is not None:
        _check_spend_limit(grants.spend_limit_micros, scopes)
    return Grants(
        scopes=tuple(scope for scope in Scope if scope in scopes),
        expires_at=grants.expires_at,
        allowed_ips=None if grants.allowed_ips is None else _networks(grants.allowed_ips),
        allowed_models=None if grants.allowed_models is None else _models(grants.allowed_models),
        requests_per_minute=grants.requests_per_minute,
        open_limit=grants.open_limit,
        spend_limit_micros=grants.spend_limit_micros,
        spend_period=ApiKey.SpendPeriod(grants.spend_period),
    )


def check_name(name: str) -> str:
    """Return the name of a key without surrounding blanks. Raises InvalidGrant for one that cannot be stored."""
    name = name.strip()
    if len(name) > MAX_NAME_CHARACTERS or "\0" in name:
        raise InvalidGrant("name", f"name must have at most {MAX_NAME_CHARACTERS} characters, without NUL.")
    return name


def find_excess(holder: Grants, wanted: Grants) -> str | None:
    """Return the name of a field in which `wanted` grants more than `holder`, or None.

    A key with a limit of spending has no scope `keys`, so the limits of spending need no comparison.
    """
    excesses = {
        "scopes": not set(wanted.scopes) <= set(holder.scopes),
        "expires_at": _exceeds(wanted.expires_at, holder.expires_at),
        "allowed_ips": not _are_within(wanted.allowed_ips, holder.allowed_ips),
        "allowed_models": not _is_subset(wanted.allowed_models, holder.allowed_models),
        "requests_per_minute": _exceeds(wanted.requests_per_minute, holder.requests_per_minute),
        "open_limit": _exceeds(wanted.open_limit, holder.open_limit),
    }
    return next((field for field, is_more in excesses.items() if is_more), None)


def _exceeds(wanted: "int | datetime | None", held: "int | datetime | None") -> bool:
    if held is None:
        return False
    return wanted is None or wanted > held  # type: ignore[operator] # both are of the same field


def _is_subset(wanted: Sequence[str] | None, held: Sequence[str] | None) -> bool:
    return held is None or (wanted is not None and set(wanted) <= set(held))


def _are_within(wanted: Sequence[str] | None, held: Sequence[str] | None) -> bool:
    if held is None:
        return True
    return wanted is not None and all(_is_within(ipaddress.ip_network(each), held) for each in wanted)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _is_within(wanted: "_Address | _Network | None", networks: Iterable[str]) -> bool:
    if wanted is None:
        return False
    inner = wanted if isinstance(wanted, _Network) else ipaddress.ip_network(wanted)
    outer = [ipaddress.ip_network(each) for each in networks]
    return any(inner.version == each.version and inner.subnet_of(each) for each in outer)  # type: ignore[arg-type]


def _read_address(text: str) -> _Address | None:
    """Return the address of a client. One of a dual-stack socket, such as ::ffff:192.0.2.1, counts as its IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _networks(texts: Sequence[str]) -> tuple[str, ...]:
    unique = _unique("allowed_ips", texts, most=MAX_ADDRESSES)
    try:
        return tuple(dict.fromkeys(_network(text) for text in unique))
    except ValueError:
        message = (
            "allowed_ips must be addresses or networks such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32."
        )
        raise InvalidGrant("allowed_ips", message) from None


def _network(text: str) -> str:
    """Return the network in its normal form, one of IPv4 in the form of IPv6 as IPv4. Raises ValueError.

    A zone, such as in fe80::1%eth0, is a name of one machine's interface and says nothing of a client.
    """
    if "%" in text:
        raise ValueError("an address with a zone")
    network = ipaddress.ip_network(text)
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return str(network)
    return f"{mapped}/{network.prefixlen - _MAPPED_BITS}"


def _models(names: Sequence[str]) -> tuple[str, ...]:
    unique = _unique("allowed_models", names, most=MAX_MODELS)
    if any(len(name) > MAX_MODEL_CHARACTERS or "\0" in name for name in unique):
        raise InvalidGrant("allowed_models", "allowed_models must be names of models.")
    return unique


def _unique(field: str, values: Sequence[str], *, most: int | None = None) -> tuple[str, ...]:
    if not values:
        raise InvalidGrant(field, f"{field} must not be empty.")
    if most is not None and len(values) > most:
        raise InvalidGrant(field, f"{field} must have at most {most} items.")
    return tuple(dict.fromkeys(values))


def _check_number(field: str, value: int | None, *, most: int) -> None:
    if value is not None and not MIN_LIMIT <= value <= most:
        raise InvalidGrant(field, f"{field} must be a whole number from {MIN_LIMIT} to {most}.")


def _check_spend_limit(micros: int, scopes: Sequence[str]) -> None:
    try:
        money.check_amount(micros)
    except ValueError:
        raise InvalidGrant(
            "spend_limit_micros", "spend_limit must be over zero and have at most four decimal places."
        ) from None
    if Scope.KEYS in scopes:
        message = (
            "A key with a spend_limit must not have the scope keys, because it could issue keys without one."
        )
        raise InvalidGrant("spend_limit_micros", message)
