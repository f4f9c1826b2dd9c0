"""The authentication of clients by the bearer key of a request."""

from collections.abc import Callable
from typing import Final

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request

from billing import keys
from billing.holds import AccountSuspended
from billing.models import Account

# The header WWW-Authenticate of a 401 (RFC 6750, section 3).
CHALLENGE: Final = 'Bearer realm="zekron"'
# The exceptions that `account_of` raises.
REFUSALS: Final = (NotAuthenticated, keys.InvalidKey, AccountSuspended)


def account_of(*, authorization: str, authenticate: Callable[..., Account] = keys.identify) -> Account:
    """Return the account of this header's key.

    `keys.identify` may know the account of a key from a moment ago, and `keys.authenticate` always reads it. Raises
    NotAuthenticated for a missing key, InvalidKey for one that is unknown, revoked or expired, and AccountSuspended.
    """
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise NotAuthenticated
    account = authenticate(text=key.strip())
    if account.status != Account.Status.ACTIVE:
        raise AccountSuspended
    return account


class BearerKeyAuthentication(BaseAuthentication):
    """DRF's authentication by `Authorization: Bearer zk_…`. It raises where DRF would go on without a user."""

    find_account: Callable[..., Account] = staticmethod(keys.identify)

    def authenticate(self, request: Request) -> tuple[Account, None]:
        """Return the key's account; raise the exceptions of `account_of`."""
        authorization = request.headers.get("Authorization", "")
        return account_of(authorization=authorization, authenticate=self.find_account), None

    def authenticate_header(self, request: Request) -> str:
        """Return the value of WWW-Authenticate."""
        return CHALLENGE


class FreshAccountAuthentication(BearerKeyAuthentication):
    """Authentication for views that reply with fields of the account. It reads them in the query of the key."""

    find_account = staticmethod(keys.authenticate)
