"""Holds of quotes on accounts: made, then settled or released, once.

Each movement is part of the one statement that writes the rows it pays for, because all requests of an account wait for
the lock of its row. The CTEs are here. The module that owns those rows composes the statement.
"""

from typing import Final, NoReturn

from django.db import connection

from billing import key_spending, keys, ledger, money
from billing.models import Account, Reservation


class AccountSuspended(Exception):
    """The account is suspended and may not hold money for new work."""


class TooManyHolds(Exception):
    """The account already has the maximum number of open holds, which is `limit`."""

    def __init__(self, message: str, *, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class AlreadyResolved(Exception):
    """The reservation is already settled or released."""


# Each CTE needs the rows of the one before it, so a statement writes everything or nothing. A condition stands in the
# CTE that locks its row. PostgreSQL checks it there again if another transaction has changed the row meanwhile.

# The CTE `payer` locks an account that may hold `count` times the quote. It is empty if the account may not, or if the
# key that asks is not live or may not hold as much. The key's row is locked after the account's, so that it is read as
# it is after that wait. Every movement locks both in this order.
PAYER: Final = f"""
locked AS MATERIALIZED (
    SELECT id AS account_id FROM billing_account
    WHERE id = %(account_id)s AND status = 'active'
        AND balance_micros - reserved_micros >= %(count)s * %(quote_micros)s
        AND coalesce(CASE WHEN %(is_async)s
            THEN %(count)s + open_async_count <= coalesce(queue_limit, %(open_limit)s)
            ELSE %(count)s + open_hold_count - open_async_count <= coalesce(open_limit, %(open_limit)s) END, true)
    FOR NO KEY UPDATE
), asker AS MATERIALIZED (
    SELECT key.id FROM locked JOIN billing_apikey key USING (account_id)
    WHERE key.id = %(api_key_id)s AND revoked_at IS NULL
        AND (expires_at IS NULL OR expires_at > statement_timestamp())
        AND {key_spending.MAY_HOLD}
    FOR NO KEY UPDATE OF key
), payer AS MATERIALIZED (
    SELECT account_id FROM locked WHERE %(api_key_id)s::bigint IS NULL OR EXISTS (SELECT FROM asker)
)"""  # noqa: S608 (own texts)
_HOLD: Final = f"""
account AS (
    UPDATE billing_account a SET reserved_micros = reserved_micros + %(count)s * %(quote_micros)s,
        hold_count = hold_count + %(count)s, open_hold_count = open_hold_count + %(count)s,
        open_async_count = open_async_count + CASE WHEN %(is_async)s THEN %(count)s ELSE 0 END,
        entry_count = entry_count + %(count)s
    FROM {{after}} after WHERE a.id = after.account_id
    RETURNING a.*
), {key_spending.HOLD}, reservation AS (
    INSERT INTO billing_reservation (account_id, quote_micros, is_async, resolution, api_key_id, created_at)
    SELECT account.id, %(quote_micros)s, %(is_async)s, '', key.id, greatest(statement_timestamp(), key.counted_since)
    FROM account LEFT JOIN key ON true, generate_series(1, %(count)s)
    RETURNING id
), hold AS (
    SELECT a.id AS account_id, r.id AS reservation_id, position, hold_count - %(count)s + position AS number,
        open_hold_count - CASE WHEN %(is_async)s THEN 0 ELSE open_async_count END - %(count)s + position AS open_count,
        entry_count - %(count)s + position AS sequence,
        balance_micros, reserved_micros - (%(count)s - position) * %(quote_micros)s AS reserved_micros
    FROM account a, (SELECT id, row_number() OVER (ORDER BY id) AS position FROM reservation) r
), entry AS (
    INSERT INTO billing_ledgerentry (account_id, sequence, kind, amount_micros, balance_after_micros,
        reserved_after_micros, reservation_id, api_key_id, actor, reason)
    SELECT account_id, sequence, 'hold', %(quote_micros)s, balance_micros, reserved_micros, reservation_id,
        %(api_key_id)s::bigint, '', ''
    FROM hold
)"""  # noqa: S608 (own texts)
_RESOLVE: Final = """
reservation AS (
    UPDATE billing_reservation r SET {resolved}, resolved_at = statement_timestamp()
    FROM {after} after WHERE r.id = after.reservation_id AND resolution = '' AND {guard}
    RETURNING r.*
), account AS (
    UPDATE billing_account a SET reserved_micros = reserved_micros - quote_micros,
        open_hold_count = open_hold_count - 1, open_async_count = open_async_count - is_async::int,
        entry_count = entry_count + 1 {charged}
    FROM reservation r WHERE a.id = r.account_id
    RETURNING a.*
), {key}, entry AS (
    INSERT INTO billing_ledgerentry (account_id, sequence, kind, amount_micros, balance_after_micros,
        reserved_after_micros, reservation_id, actor, reason)
    SELECT a.id, entry_count, {kind}, {amount}, balance_micros, reserved_micros, r.id, '', ''
    FROM account a, reservation r
    RETURNING reservation_id
)"""
_RELEASE: Final = f"""
WITH given AS (SELECT %(reservation_id)s::bigint AS reservation_id), {
    _RESOLVE.format(
        after="given",
        resolved="resolution = 'released'",
        guard="true",
        charged="",
        key=key_spending.resolve(spent="0"),
        kind="'release'",
        amount="quote_micros",
    )
}
SELECT reservation_id FROM entry
"""  # noqa: S608 (only texts of this module are inserted)


def hold(*, after: str = "payer") -> str:
    """Return the CTEs that hold the quote `count` times, if the CTE `after` has the row of `payer`.

    The last ones are `hold`, with a row for each hold, and `entry`. The columns of `hold` are `account_id`,
    `reservation_id`, `position` from 1, `number` (of all holds of the account, from 1) and `open_count`, the account's
    open holds up to this one. A synchronous hold counts no asynchronous ones, which must not delay it.
    """
    return _HOLD.format(after=after)


def hold_values(
    *,
    account_id: int,
    quote_micros: int,
    count: int = 1,
    is_async: bool = False,
    open_limit: int | None = None,
    api_key_id: int | None = None,
) -> dict[str, int | None]:
    """Return the values of a statement with `payer` and `hold`. Raises ValueError for a bad quote or count.

    `api_key_id` is the key that asks for the hold, which must be live, or None if no key does.
    `open_limit` is for the account's open holds of the same kind, asynchronous or not, unless it has one of its own.
    """
    money.check_amount(quote_micros)
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}.")
    return {
        "account_id": account_id,
        "quote_micros": quote_micros,
        "count": count,
        "is_async": is_async,
        "open_limit": open_limit,
        "api_key_id": api_key_id,
    }


def refuse_hold(
    *,
    account_id: int,
    quote_micros: int,
    count: int = 1,
    is_async: bool = False,
    open_limit: int | None = None,
    api_key_id: int | None = None,
) -> None:
    """Raise the reason why `payer` found no account, as the account is now.

    Raises Account.DoesNotExist, InvalidKey, AccountSuspended, TooManyHolds, KeyTooManyHolds, InsufficientBalance or
    KeySpendLimit. If there is no reason any more, the hold is worth another try.
    """
    account = Account.objects.get(pk=account_id)
    if api_key_id is not None:
        keys.require_live(key_id=api_key_id, account_id=account_id)
    if account.status != Account.Status.ACTIVE:
        raise AccountSuspended(f"Account {account_id} is suspended.")
    open_count = account.open_async_count if is_async else account.open_hold_count - account.open_async_count
    own_limit = account.queue_limit if is_async else account.open_limit
    limit = open_limit if own_limit is None else own_limit
    if limit is not None and open_count + count > limit:
        message = f"Account {account_id} already has {open_count} open holds of this kind."
        raise TooManyHolds(message, limit=limit)
    if api_key_id is not None:
        key_spending.require_allowed(key_id=api_key_id, count=count, micros=count * quote_micros)
    ledger.require_available(account, count * quote_micros)


def settle(*, after: str) -> str:
    """Return the CTEs that charge a cost of at most the quote and free the rest of the hold.

    The CTE `after` has the column `reservation_id`. The last CTE is `entry`, with the same column. It has no row if the
    reservation is already resolved, or if its quote is lower than the cost. A suspended account is charged too, because
    its work was accepted and delivered.
    """
    return _RESOLVE.format(
        after=after,
        resolved="resolution = 'settled', settled_micros = %(cost_micros)s",
        guard="quote_micros >= %(cost_micros)s",
        charged=", balance_micros = balance_micros - %(cost_micros)s, spent_micros = spent_micros + %(cost_micros)s,"
        " settlement_count = settlement_count + 1",
        key=key_spending.resolve(spent="%(cost_micros)s"),
        kind="'settle'",
        amount="%(cost_micros)s",
    )


def settle_values(*, cost_micros: int) -> dict[str, int]:
    """Return the values of a statement with `settle`. Raises ValueError for a bad cost."""
    money.check_amount(cost_micros)
    return {"cost_micros": cost_micros}


def refuse_settlement(*, reservation_id: int, cost_micros: int) -> NoReturn:
    """Raise the reason why `settle` charged nothing: AlreadyResolved, or ValueError for a cost over the quote."""
    reservation = Reservation.objects.get(pk=reservation_id)
    if cost_micros > reservation.quote_micros:
        raise ValueError(
            f"cost_micros must not be over the quote of {reservation.quote_micros}, but is {cost_micros}."
        )
    raise AlreadyResolved(f"Reservation {reservation_id} is already resolved.")


def release(*, reservation_id: int) -> None:
    """Free the whole hold in the caller's transaction without a charge. Raises AlreadyResolved."""
    ledger.require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(_RELEASE, {"reservation_id": reservation_id})
        released = cursor.fetchone()
    if not released:
        Reservation.objects.get(pk=reservation_id)
        raise AlreadyResolved(f"Reservation {reservation_id} is already resolved.")
