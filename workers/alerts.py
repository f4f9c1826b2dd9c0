"""Telling of alerts: as events for webhooks, in the transaction that remembers them, and afterwards by mail."""

import logging
from collections.abc import Mapping
from functools import partial
from smtplib import SMTPException
from typing import Any, Final

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction

from billing import alerts
from billing.models import Account
from billing.money import format_usd
from workers.catalogue import catalogue
from workers.webhooks import endpoints, events, outbox

log = logging.getLogger(__name__)

_SUBJECTS: Final = {
    events.BALANCE_LOW: "Your balance is low",
    events.KEY_SPEND_LIMIT_REACHED: "An API key has reached a part of its limit",
    events.WEBHOOK_DISABLED: "A webhook is disabled",
}


def tell_all() -> int:
    """Tell what is new, and return how much that was. A second run, also at once, tells nothing twice."""
    with transaction.atomic():
        low, spending = alerts.take_low_balances(), alerts.take_key_spending(lowest_micros=_lowest_micros())
        disabled = endpoints.take_disabled()
        data: dict[str, Any]
        for balance in low:
            data = {
                "balance": format_usd(balance.balance_micros),
                "threshold": format_usd(balance.threshold_micros),
            }
            tell(account_id=balance.account_id, email=balance.email, event_type=events.BALANCE_LOW, data=data)
        for key in spending:
            data = {"key_id": key.key_id, "percent": key.percent}
            tell(
                account_id=key.account_id,
                email=key.email,
                event_type=events.KEY_SPEND_LIMIT_REACHED,
                data=data,
            )
        for endpoint in disabled:
            data = {"webhook_id": endpoint.pk, "reason": endpoint.disabled_reason}
            email = alerts.settings_of(account_id=endpoint.account_id).email
            tell(account_id=endpoint.account_id, email=email, event_type=events.WEBHOOK_DISABLED, data=data)
    return len(low) + len(spending) + len(disabled)


def tell(*, account_id: int, email: str, event_type: str, data: Mapping[str, Any]) -> None:
    """Write the event in the caller's transaction, and send the mail after its commit, once and as far as it goes."""
    outbox.emit(account_id=account_id, event_type=event_type, data=data)
    if email and settings.SENDS_MAIL:
        transaction.on_commit(partial(_send_mail, account_id, email, event_type, data))


def _send_mail(account_id: int, email: str, event_type: str, data: Mapping[str, Any]) -> None:
    name = Account.objects.values_list("name", flat=True).get(pk=account_id)
    lines = [f"Account: {name}", *(f"{field}: {value}" for field, value in data.items())]
    body = "\n".join([*lines, "", f"This service: {settings.PUBLIC_URL}", ""])
    try:
        send_mail(_SUBJECTS[event_type], body, None, [email])
    except (SMTPException, OSError) as error:
        # The event is in the account's webhooks too. A mail that comes hours later would tell what is over.
        log.warning(
            "account %s: the mail of %s could not be sent (%s)", account_id, event_type, type(error).__name__
        )


def _lowest_micros() -> int:
    return min(model.price.least_micros for model in catalogue().values())
