"""Invitations into accounts. Only this module writes them.

The token of a link is 256 random bits in base64. The database stores only its SHA-256.
"""

import hashlib
import secrets
from datetime import timedelta
from typing import Final, NamedTuple

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from billing import accounts, ledger, memberships
from billing.membership_models import Invitation, Membership, Role

LIFE: Final = timedelta(days=7)
# More open invitations of an account at once are a mistake.
MAX_OPEN: Final = 100
# Each may be a mail of this service to a stranger.
MAX_IN_A_DAY: Final = 100
# The column's width. Django's forms and validators take longer addresses.
MAX_EMAIL_CHARACTERS: Final = 254
_TOKEN_BYTES: Final = 32
# This is longer than any token, so a longer text is refused before it is hashed.
_MAX_CHARACTERS: Final = 100


class InvalidInvitation(Exception):
    """The link is unknown, used, revoked or expired. Which one, nobody is told."""


class TooManyInvitations(Exception):
    """The account has as many open invitations as it may, or made as many within a day."""


class Issued(NamedTuple):
    """An invitation, with the token of its link. The token cannot be recovered later."""

    invitation: Invitation
    token: str


def create(*, account_id: int, email: str, role: str, invited_by: str) -> Issued:
    """Invite the person with this e-mail address.

    Raises TooManyInvitations, and ValueError for a bad role or actor, or for an address that is too long.
    """
    actor = ledger.check_text(invited_by, "actor")
    if len(email.strip()) > MAX_EMAIL_CHARACTERS:
        raise ValueError(f"The e-mail address must have at most {MAX_EMAIL_CHARACTERS} characters.")
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    with transaction.atomic():
        accounts.lock(account_id=account_id)
        if list_open(account_id=account_id).count() >= MAX_OPEN:
            raise TooManyInvitations(f"At most {MAX_OPEN} invitations may be open. Revoke some first.")
        if _count_of_day(account_id) >= MAX_IN_A_DAY:
            raise TooManyInvitations(f"At most {MAX_IN_A_DAY} invitations are allowed in 24 hours. Wait.")
        invitation = Invitation.objects.create(
            account_id=account_id,
            email=email.strip(),
            role=Role(role),
            digest=_digest(token),
            invited_by=actor,
            expires_at=timezone.now() + LIFE,
        )
    return Issued(invitation, token)


def find(*, token: str) -> Invitation:
    """Return the open invitation of this link with its account. Raises InvalidInvitation."""
    if len(token) <= _MAX_CHARACTERS:
        found = _list_open().select_related("account").filter(digest=_digest(token)).first()
        if found is not None:
            return found
    raise InvalidInvitation("This invitation is unknown, used, revoked or expired. Ask for a new one.")


def accept(*, token: str, user_id: int) -> Membership:
    """Use the invitation up, and make the person a member. A member keeps the present role.

    Raises InvalidInvitation.
    """
    with transaction.atomic():
        invitation = find(token=token)
        # The update waits for another one of the same link, and then finds it used.
        if not _list_open().filter(pk=invitation.pk).update(accepted_at=Now(), accepted_by=user_id):
            raise InvalidInvitation("This invitation was just used. Ask for a new one.")
        return memberships.add(user_id=user_id, account_id=invitation.account_id, role=invitation.role)


def revoke(*, invitation_id: int, account_id: int) -> None:
    """Keep an open invitation of the account from being used. Raises Invitation.DoesNotExist for any other."""
    mine = list_open(account_id=account_id).filter(pk=invitation_id)
    if mine.update(revoked_at=Now()) != 1:
        raise Invitation.DoesNotExist


def list_open(*, account_id: int) -> QuerySet[Invitation]:
    """Return the account's invitations that can be used, the oldest first."""
    return _list_open().filter(account_id=account_id).order_by("pk")


def _count_of_day(account_id: int) -> int:
    since = timezone.now() - timedelta(days=1)
    return Invitation.objects.filter(account_id=account_id, created_at__gt=since).count()


def _list_open() -> QuerySet[Invitation]:
    return Invitation.objects.filter(accepted_at__isnull=True, revoked_at__isnull=True, expires_at__gt=Now())


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
