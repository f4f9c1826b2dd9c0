"""The log of what people do in the console: one line for each act, with the person's name and without secrets."""

import logging

from zekron_api.console.access import Access

log = logging.getLogger(__name__)


def note(access: Access, act: str, *values: object) -> None:
    """Log an act of the person. `act` is a format that begins with a verb, such as `revoked key %s`."""
    log.info("account %s: %s " + act, access.account.pk, access.actor, *values)
