"""Idempotency keys: the key under which each generation was accepted, so that a retry is never charged twice."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from billing import secret_keys
from storage.postgresql.plain_sql import NOW
from workers.models import Generation, IdempotencyKey, Status, Timestamp

# A key lives for this time, and for as long as its generation is open or its image can be fetched.
KEY_LIFE: Final = timedelta(hours=24)
# A generation that ended without an image was free, so its key may be used again.
_FREE: Final = (Status.FAILED, Status.CANCELLED)
# The CTE takes the key for a new generation, the first of its request, after `holds.PAYER` locked the account. It is
# empty if the key belongs to another request that has an open or completed generation. The statement cannot see a
# generation that was accepted while it waited for the lock, but ON CONFLICT meets its key, and a generation that cannot
# be seen counts as open.
TAKE: Final = f"""
named AS (
    INSERT INTO workers_idempotencykey AS key (account_id, key_digest, request_digest, generation_id, created_at)
    SELECT account_id, %(key_digest)s, %(request_digest)s,
        nextval(pg_get_serial_sequence('workers_generation', 'id')), {NOW}
    FROM payer
    ON CONFLICT (account_id, key_digest) DO UPDATE SET request_digest = excluded.request_digest,
        generation_id = excluded.generation_id, created_at = excluded.created_at
    WHERE EXISTS (SELECT FROM workers_generation WHERE id = key.generation_id)
        AND NOT EXISTS (SELECT FROM workers_generation WHERE (id = key.generation_id OR group_id = key.generation_id)
            AND status NOT IN ('failed', 'cancelled') AND NOT (status = 'completed'
                AND expires_at <= excluded.created_at
                AND key.created_at <= excluded.created_at - interval '{KEY_LIFE.total_seconds():.0f} seconds'))
    RETURNING account_id, generation_id
)"""  # noqa: S608 (only constants are inserted)


class KeyReused(Exception):
    """The idempotency key was used for another request within a day."""


class AlreadyAccepted(Exception):
    """The request was accepted before, under the same idempotency key."""

    def __init__(self, generation: Generation) -> None:
        super().__init__()
        self.generation = generation


@dataclass(frozen=True, kw_only=True)
class Idempotency:
    """A client's key and the digest of the request's content, each in hex.

    The request's digest is keyed, so a digest that is kept does not show whether a guessed prompt is the right one.
    `former_digests` are compared and never stored: those under former secret keys, and the one of the first release,
    which had no key.
    """

    key_digest: str
    request_digest: str
    former_digests: tuple[str, ...] = ()

    @classmethod
    def of(cls, *, key: str, request: Sequence[str | bytes]) -> "Idempotency":
        """Return the digests of a key and of a request's parts. Other boundaries between parts give another digest."""
        digests = _hash_parts(request)
        present, *former = secret_keys.with_each(partial(_digest, digests))
        return cls(
            key_digest=hashlib.sha256(key.encode()).hexdigest(),
            request_digest=present,
            former_digests=(*former, hashlib.sha256(digests).hexdigest()),
        )

    def is_of(self, request_digest: str) -> bool:
        """Return whether the stored digest is this request's, as it is stored now or was before."""
        return request_digest in (self.request_digest, *self.former_digests)


def digest_of(*, request: Sequence[str | bytes], secret_key: str) -> str:
    """Return the digest of a request's parts under this secret key."""
    return _digest(_hash_parts(request), secret_key)


def find(*, account_id: int, idempotency: Idempotency, now: Timestamp = Now()) -> Generation | None:
    """Return the first generation that was accepted under the key, unless all were free. Raise KeyReused.

    A generation that ended without an image was free. If all of a request did, its key may be used again, so that a
    retry can succeed.
    """
    remembered = (
        IdempotencyKey.objects.select_related("generation")
        .filter(~_is_over(now), account_id=account_id, key_digest=idempotency.key_digest)
        .exclude(_was_free())
        .first()
    )
    if remembered is None:
        return None
    if not idempotency.is_of(remembered.request_digest):
        raise KeyReused
    return remembered.generation


def forget(*, limit: int, now: Timestamp = Now()) -> int:
    """Delete at most `limit` keys whose life is over, and return their number.

    A submission may renew an old key at the same moment. Its row is locked until it commits, so it is passed over. The
    lock also tests the age of the row's newest version, which the deletion by ids would not.
    """
    old = IdempotencyKey.objects.filter(_is_over(now)).order_by("created_at")
    with transaction.atomic():
        locked = old.select_for_update(skip_locked=True, of=("self",)).values_list("pk", flat=True)[:limit]
        deleted, _ = IdempotencyKey.objects.filter(pk__in=list(locked)).delete()
    return deleted


def _is_over(now: Timestamp) -> Q:
    """Return the condition of a key whose life is over. `TAKE` has the same one."""
    has_others = Exists(_not_free_of_group().exclude(expires_at__lte=now))
    ended = Q(generation__status__in=_FREE) | Q(generation__expires_at__lte=now)
    return Q(created_at__lte=now - KEY_LIFE) & ended & Q(~has_others)


def _was_free() -> Q:
    """Return the condition of a key whose generations all ended without an image. `TAKE` has the same one."""
    return Q(generation__status__in=_FREE) & Q(~Exists(_not_free_of_group()))


def _not_free_of_group() -> QuerySet[Generation]:
    """Return those of a key's group, for a query of keys, that are open or completed. A single one has no group."""
    return Generation.objects.filter(group_id=OuterRef("generation_id")).exclude(status__in=_FREE)


def _hash_parts(request: Sequence[str | bytes]) -> bytes:
    parts = [part.encode() if isinstance(part, str) else part for part in request]
    return b"".join(hashlib.sha256(part).digest() for part in parts)


def _digest(hashes: bytes, secret_key: str) -> str:
    return hmac.new(_request_key(secret_key), hashes, hashlib.sha256).hexdigest()


@cache
def _request_key(secret_key: str) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=b"zekron request digest").derive(secret_key.encode())
