"""Who is asking: the bearer key of a request names an account."""

from typing import Final

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request

from billing import keys
from billing.ledger import AccountSuspended
from billing.models import Account

# What a client that did not say who it is must send (RFC 6750, section 3).
CHALLENGE: Final = 'Bearer realm="zekron"'
# What `account_of` may raise.
REFUSALS: Final = (NotAuthenticated, keys.InvalidKey, AccountSuspended)


def account_of(*, authorization: str) -> Account:
    """The account of this header's key. Raises NotAuthenticated (no key), InvalidKey (unknown, revoked, expired) or
    AccountSuspended.
    """
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise NotAuthenticated
    account = keys.authenticate(text=key.strip())
    if account.status != Account.Status.ACTIVE:
        raise AccountSuspended
    return account


class BearerKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer zk_…` → the key's account. It raises where DRF would go on without a user."""

    def authenticate(self, request: Request) -> tuple[Account, None]:
        """Raises what `account_of` raises."""
        return account_of(authorization=request.headers.get("Authorization", "")), None

    def authenticate_header(self, request: Request) -> str:
        """What WWW-Authenticate says."""
        return CHALLENGE
