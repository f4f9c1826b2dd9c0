"""The links of invitations, and the mail with one, where the service sends mail."""

import logging
import smtplib

from django.conf import settings
from django.core.mail import send_mail
from django.urls import reverse

from billing.invitations import LIFE, Issued

log = logging.getLogger(__name__)


def address_of(issued: Issued) -> str:
    """Return the address of the page on which the person joins the account."""
    return f"{settings.PUBLIC_URL}{reverse('invitation', args=[issued.token])}"


def send(*, issued: Issued) -> bool:
    """Mail the link, and return whether it was handed to the mail server. Without EMAIL_URL nothing is sent.

    Call it outside of a transaction. The link is shown as well, so a failure loses nothing.
    """
    if not settings.SENDS_MAIL:
        return False
    invitation = issued.invitation
    # The name of an account of an older release may have line breaks.
    name = " ".join(invitation.account.name.split())
    subject = f"Invitation to {name}"
    body = (
        f"You are invited to the account {name}, as {invitation.role}.\n\n"
        f"Join here, within {LIFE.days} days:\n{address_of(issued)}\n"
    )
    try:
        return bool(send_mail(subject, body, None, [invitation.email]))
    except (OSError, smtplib.SMTPException) as error:
        log.warning("an invitation could not be mailed (%s)", type(error).__name__)
        return False
