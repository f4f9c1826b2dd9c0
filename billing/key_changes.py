"""Changes of a key: what it grants, and its text."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.db.models.functions import Now

from billing import accounts, keys
from billing.grants import check_name
from billing.models import ApiKey
from billing.recent_keys import forget_after_commit

# The time for which the former text of a rotated key stays valid: by default, and at most.
DEFAULT_OVERLAP: Final = timedelta(days=1)
MAX_OVERLAP: Final = timedelta(days=7)
# A new period counts from this moment on. Holds that wait for the account's row come after it, whenever they began.
_RESTART: Final = """
UPDATE billing_apikey SET counted_since = clock_timestamp(), held_micros = 0, spent_micros = 0 WHERE id = %s
"""


def change(
    *,
    key_id: int,
    name: str | None = None,
    grants: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> ApiKey:
    """Change what is given, and return the key. `grants` are fields of `Grants`, and the others stay as they are.

    A change of the period of spending begins a new count at zero. New work is held to the grants from the commit on. In
    other processes, scopes, addresses and models follow within MAX_AGE_SECONDS of `recent_keys`. Raises InvalidGrant,
    AlreadyRevoked and ApiKey.DoesNotExist.
    """
    changed: dict[str, Any] = {}
    if name is not None:
        changed["name"] = check_name(name)
    if metadata is not None:
        changed["metadata"] = dict(metadata)
    with transaction.atomic():
        key = _lock(key_id)
        if grants:
            wanted = replace(keys.grants_of(key), **grants)
            # The next hold keeps the limit that it finds.
            changed |= {**keys.columns_of(wanted), "spend_ceiling_micros": None}
            if wanted.spend_period != key.spend_period:
                with connection.cursor() as cursor:
                    cursor.execute(_RESTART, [key_id])
        if changed:
            ApiKey.objects.filter(pk=key_id).update(**changed)
        forget_after_commit()
    return ApiKey.objects.get(pk=key_id)


def rotate(*, key_id: int, overlap: timedelta = DEFAULT_OVERLAP) -> tuple[ApiKey, str]:
    """Give the key a new text, and return both. The former text stays valid for the overlap, and an older one ends.

    A text that was never used does not become the former one. It was lost on its way, and the one before it is in use.
    The key keeps its id, its grants and its counters. Raises ValueError for an overlap out of bounds, AlreadyRevoked
    and ApiKey.DoesNotExist.
    """
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise ValueError(f"The overlap must be from 0 to {MAX_OVERLAP.days} days.")
    new = keys.make_text()
    with transaction.atomic():
        key = _lock(key_id)
        former: dict[str, Any] = {"former_until": Now() + overlap}
        if key.is_text_used or key.former_until is None:
            former |= {"former_digest": key.digest, "former_pepper": key.pepper}
        ApiKey.objects.filter(pk=key_id).update(is_text_used=False, **former, **new.columns)
        forget_after_commit()
    return ApiKey.objects.get(pk=key_id), new.text


def _lock(key_id: int) -> ApiKey:
    """Lock the account and then the key, in the order of a hold, and return the key."""
    account_id = ApiKey.objects.values_list("account_id", flat=True).get(pk=key_id)
    accounts.lock(account_id=account_id)
    key = ApiKey.objects.select_for_update(no_key=True).get(pk=key_id)
    if key.revoked_at is not None:
        raise keys.AlreadyRevoked(f"Key {key_id} is already revoked.")
    return key
