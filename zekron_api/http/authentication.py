"""The authentication of clients by the bearer key of a request."""

from collections.abc import Callable
from typing import Final, cast

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request

from billing import keys
from billing.holds import AccountSuspended
from billing.keys import LiveKey
from billing.models import Account
from workers import log_context

# The header WWW-Authenticate of a 401 (RFC 6750, section 3).
CHALLENGE: Final = 'Bearer realm="zekron"'
# The exceptions that `live_key` raises.
REFUSALS: Final = (NotAuthenticated, keys.InvalidKey, AccountSuspended)


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


def live_key_of(request: Request) -> LiveKey:
    """Return the key that authenticated the request."""
    return cast(LiveKey, request.auth)


class BearerKeyAuthentication(BaseAuthentication):
    """DRF's authentication by `Authorization: Bearer zk_…`. It raises where DRF would go on without a user."""

    find_key: Callable[..., LiveKey] = staticmethod(keys.identify)

    def authenticate(self, request: Request) -> tuple[Account, LiveKey]:
        """Return the key's account and the key; raise the exceptions of `live_key`."""
        authorization = request.headers.get("Authorization", "")
        key = live_key(authorization=authorization, authenticate=self.find_key)
        log_context.add(account_id=key.account.pk)
        return key.account, key

    def authenticate_header(self, request: Request) -> str:
        """Return the value of WWW-Authenticate."""
        return CHALLENGE


class FreshAccountAuthentication(BearerKeyAuthentication):
    """Authentication for views that reply with fields of the account. It reads them in the query of the key."""

    find_key = staticmethod(keys.authenticate)
