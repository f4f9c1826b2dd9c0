"""The authentication of clients by the bearer key of a request."""

from collections.abc import Callable
from typing import Final, NamedTuple, cast

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request

from billing import keys
from billing.grants import Grants
from billing.holds import AccountSuspended
from billing.keys import LiveKey
from billing.models import Account
from workers import log_context

# The header WWW-Authenticate of a 401 (RFC 6750, section 3).
CHALLENGE: Final = 'Bearer realm="zekron"'
# The exceptions that `live_key` raises.
REFUSALS: Final = (NotAuthenticated, keys.InvalidKey, AccountSuspended)


class Caller(NamedTuple):
    """The one who asks for something of an account: an API key, or a person in the console. The other id is None."""

    account: Account
    grants: Grants
    key_id: int | None = None
    person_id: int | None = None


def live_key(*, authorization: str, authenticate: Callable[..., LiveKey] = keys.identify) -> LiveKey:
    """Return this header's key, with its account.

    `keys.identify` may know the account of a key from a moment ago, and `keys.authenticate` always reads it. Raises
    NotAuthenticated for a missing key, InvalidKey for one that is unknown, revoked or expired, and AccountSuspended.
    """
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise NotAuthenticated
    live = authenticate(text=key.strip())
    if live.account.status != Account.Status.ACTIVE:
        raise AccountSuspended
    return live


def caller_of(request: Request) -> Caller:
    """Return the caller whom the request's authentication found."""
    return cast(Caller, request.auth)


class BearerKeyAuthentication(BaseAuthentication):
    """DRF's authentication by `Authorization: Bearer zk_…`. It raises where DRF would go on without a user."""

    find_key: Callable[..., LiveKey] = staticmethod(keys.identify)

    def authenticate(self, request: Request) -> tuple[Account, Caller]:
        """Return the key's account and the caller; raise the exceptions of `live_key`."""
        authorization = request.headers.get("Authorization", "")
        key = live_key(authorization=authorization, authenticate=self.find_key)
        log_context.add(account_id=key.account.pk)
        return key.account, Caller(key.account, key.grants, key_id=key.id)

    def authenticate_header(self, request: Request) -> str:
        """Return the value of WWW-Authenticate."""
        return CHALLENGE


class FreshAccountAuthentication(BearerKeyAuthentication):
    """Authentication for views that reply with fields of the account. It reads them in the query of the key."""

    find_key = staticmethod(keys.authenticate)
