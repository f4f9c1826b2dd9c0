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


class BearerKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer zk_…` → the key's account. It raises where DRF would go on without a user."""

    def authenticate(self, request: Request) -> tuple[Account, None]:
        """Raises NotAuthenticated (no key), InvalidKey (unknown, revoked, expired) or AccountSuspended."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise NotAuthenticated
        account = keys.authenticate(text=key.strip())
        if account.status != Account.Status.ACTIVE:
            raise AccountSuspended
        return account, None

    def authenticate_header(self, request: Request) -> str:
        """What WWW-Authenticate says."""
        return CHALLENGE
