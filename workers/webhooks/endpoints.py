"""Endpoints of an account: created, changed, rotated, disabled and deleted. The module alone writes their rows."""

import logging
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from billing import accounts
from storage import sealed_secrets
from storage.models import SealedSecret
from workers.models import Timestamp
from workers.webhook_models import MAX_ENDPOINTS, DisabledReason, WebhookDelivery, WebhookEndpoint
from workers.webhooks import events, signing

log = logging.getLogger(__name__)

MAX_OVERLAP_SECONDS: Final = 7 * 86_400
DEFAULT_OVERLAP_SECONDS: Final = 86_400


# The most disabled endpoints that one round tells of.
MAX_TOLD: Final = 100


class TooManyEndpoints(Exception):
    """The account has as many webhooks as it may have."""


class EndpointDisabled(Exception):
    """The webhook is disabled, so nothing is sent to it."""


def of_account(account_id: int) -> QuerySet[WebhookEndpoint]:
    """Return the account's endpoints, without the default one, in the order of their creation."""
    return WebhookEndpoint.objects.filter(account_id=account_id, place__isnull=False).order_by("pk")


def create(
    *,
    account_id: int,
    url: str,
    subscribed: Collection[str] = events.DEFAULT,
    is_enabled: bool = True,
    include_prompt: bool = False,
    description: str = "",
    now: Timestamp = Now(),
) -> WebhookEndpoint:
    """Create an endpoint with a secret of its own. Raise TooManyEndpoints."""
    while True:
        taken = set(of_account(account_id).values_list("place", flat=True))
        place = next((each for each in range(1, MAX_ENDPOINTS + 1) if each not in taken), None)
        if place is None:
            raise TooManyEndpoints
        try:
            with transaction.atomic():
                made = WebhookEndpoint.objects.create(
                    account_id=account_id,
                    place=place,
                    url=url,
                    events=list(subscribed),
                    is_enabled=is_enabled,
                    include_prompt=include_prompt,
                    description=description,
                    secret=sealed_secrets.create(),
                    created_at=now,
                )
        except IntegrityError:
            # Another request took the place just now.
            continue
        made.refresh_from_db()
        return made


def default_of(*, account_id: int, now: Timestamp = Now()) -> WebhookEndpoint:
    """Return the account's default endpoint, which stands for the addresses that requests name. Create it once."""
    mine = WebhookEndpoint.objects.filter(account_id=account_id, is_default=True)
    if (found := mine.first()) is not None:
        return found
    try:
        with transaction.atomic():
            WebhookEndpoint.objects.create(
                account_id=account_id,
                is_default=True,
                events=list(events.DEFAULT),
                secret=sealed_secrets.create(),
                created_at=now,
            )
    except IntegrityError:
        # Another request created it just now.
        pass
    return mine.get()


def change(*, endpoint_id: int, changes: Mapping[str, Any]) -> None:
    """Change columns of an endpoint.

    One that is enabled again starts without failures. One that is disabled gets nothing that waits for it.
    """
    columns = dict(changes)
    if columns.get("is_enabled") is True:
        columns |= {"failure_count": 0, "failing_since": None}
        columns |= {"disabled_at": None, "disabled_reason": "", "disabled_told_at": None}
    with transaction.atomic():
        WebhookEndpoint.objects.filter(pk=endpoint_id, deleted_at__isnull=True).update(**columns)
        if columns.get("is_enabled") is False:
            _give_up_waiting(endpoint_id)
        _note_disabled(endpoint_id)


def disable(*, endpoint: WebhookEndpoint, reason: DisabledReason, now: Timestamp = Now()) -> None:
    """Disable an endpoint on behalf of the service, in the caller's transaction, and give up what waits for it."""
    enabled = WebhookEndpoint.objects.filter(pk=endpoint.pk, is_enabled=True)
    if enabled.update(is_enabled=False, disabled_at=now, disabled_reason=reason):
        _give_up_waiting(endpoint.pk)
        _note_disabled(endpoint.pk)
        log.warning("webhook %s of account %s: disabled (%s)", endpoint.pk, endpoint.account_id, reason)


def take_disabled() -> list[WebhookEndpoint]:
    """Mark what the service has disabled since as told, in the caller's transaction, and return it."""
    untold = WebhookEndpoint.objects.filter(disabled_told_at__isnull=True, deleted_at__isnull=True)
    found = list(
        untold.exclude(disabled_reason="").select_for_update(skip_locked=True).order_by("pk")[:MAX_TOLD]
    )
    WebhookEndpoint.objects.filter(pk__in=[endpoint.pk for endpoint in found]).update(disabled_told_at=Now())
    return found


def list_disabled(*, account_id: int) -> list[WebhookEndpoint]:
    """Return the account's endpoints that the service has disabled."""
    return list(of_account(account_id).exclude(disabled_reason="").order_by("pk"))


def delete(*, endpoint_id: int, now: Timestamp = Now()) -> None:
    """Delete an endpoint with its secrets. Its deliveries stay until they are purged. May be called twice."""
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=endpoint_id)
        secret_ids = [endpoint.secret_id, endpoint.former_secret_id]
        WebhookEndpoint.objects.filter(pk=endpoint_id, is_default=False).update(
            place=None,
            is_enabled=False,
            disabled_at=None,
            disabled_reason="",
            secret=None,
            former_secret=None,
            former_secret_until=None,
            deleted_at=now,
        )
        SealedSecret.objects.filter(pk__in=[each for each in secret_ids if each]).delete()
        _note_disabled(endpoint_id)
        _give_up_waiting(endpoint_id)


def rotate(*, endpoint_id: int, overlap_seconds: int, now: Timestamp = Now()) -> WebhookEndpoint:
    """Give an endpoint a new secret. The former one signs too for this time. One that still did so is destroyed."""
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.select_for_update(no_key=True).get(
            pk=endpoint_id, deleted_at__isnull=True
        )
        replaced, former = endpoint.former_secret_id, endpoint.secret_id
        keeps = overlap_seconds > 0
        WebhookEndpoint.objects.filter(pk=endpoint_id).update(
            secret=sealed_secrets.create(),
            former_secret_id=former if keeps else None,
            former_secret_until=now + timedelta(seconds=overlap_seconds) if keeps else None,
        )
        gone = [each for each in (replaced, None if keeps else former) if each]
        SealedSecret.objects.filter(pk__in=gone).delete()
    return WebhookEndpoint.objects.select_related("secret").get(pk=endpoint_id)


def secret_text(endpoint: WebhookEndpoint) -> str:
    """Return the endpoint's secret as its owner gets it."""
    assert endpoint.secret is not None, "only a deleted endpoint has no secret"
    return signing.text_of(sealed_secrets.read(secret=endpoint.secret))


def secrets_of(endpoint: WebhookEndpoint, *, now: datetime) -> list[bytes]:
    """Return the secrets that sign now, the newest first."""
    signing_now = [endpoint.secret]
    if endpoint.former_secret_until is not None and endpoint.former_secret_until > now:
        signing_now.append(endpoint.former_secret)
    return [sealed_secrets.read(secret=secret) for secret in signing_now if secret is not None]


def forget_former_secrets(*, limit: int, now: Timestamp = Now()) -> int:
    """Destroy at most `limit` former secrets whose time is over, and return their number."""
    over = WebhookEndpoint.objects.filter(former_secret_until__lte=now)
    with transaction.atomic():
        rows = list(over.select_for_update(no_key=True, skip_locked=True)[:limit])
        secret_ids = [row.former_secret_id for row in rows if row.former_secret_id]
        WebhookEndpoint.objects.filter(pk__in=[row.pk for row in rows]).update(
            former_secret=None, former_secret_until=None
        )
        SealedSecret.objects.filter(pk__in=secret_ids).delete()
    return len(rows)


def _note_disabled(endpoint_id: int) -> None:
    """Bring the account's number of disabled webhooks up to date, in the caller's transaction."""
    account_id = WebhookEndpoint.objects.values_list("account_id", flat=True).get(pk=endpoint_id)
    # Two changes of one account must not count beside each other.
    accounts.lock(account_id=account_id)
    count = of_account(account_id).exclude(disabled_reason="").count()
    accounts.note_disabled_webhooks(account_id=account_id, count=count)


def _give_up_waiting(endpoint_id: int) -> None:
    """End what waits for an endpoint. An attempt that is under way ends by itself."""
    waiting = WebhookDelivery.objects.filter(
        endpoint_id=endpoint_id, next_at__isnull=False, lease_token__isnull=True
    )
    waiting.update(next_at=None, error="webhook_disabled")
