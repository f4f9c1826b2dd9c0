"""The ledger. Only this module writes balances, reservations and ledger entries.

Every change of an account writes exactly one entry, under the lock of the account's row. Code that locks several rows
must lock them in this order: generation, reservation, account.
"""

import re
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from billing.models import Account, LedgerEntry, Reservation
from billing.money import MIN_STEP_MICROS, format_usd

Kind = LedgerEntry.Kind

# The limit of one movement is a billion dollars. A larger amount is a typing error, and a 64-bit column holds far more.
MAX_MICROS: Final = 10**15


class InsufficientBalance(Exception):
    """The account has less money available than required."""


class AccountSuspended(Exception):
    """The account is suspended and may not hold money for new work."""


class TooManyHolds(Exception):
    """The account already has the maximum number of open holds."""


class AlreadyResolved(Exception):
    """The reservation is already settled or released."""


class MovedBefore(Exception):
    """An earlier request with the same id moved the money, so this one moved nothing."""


class NameTaken(Exception):
    """Another account already has this name."""


class Hold(NamedTuple):
    """A new hold.

    `number` counts all holds of the account from 1, and `open_count` its open holds with this one.
    """

    reservation_id: int
    number: int
    open_count: int


# Each movement of a hold is one statement, because all requests of an account wait for the lock of its row. The UPDATE
# decides: PostgreSQL checks its condition again on a row that another transaction has changed in the meantime.
HOLD: Final = """
WITH account AS (
    UPDATE billing_account SET reserved_micros = reserved_micros + %(quote_micros)s, hold_count = hold_count + 1,
        open_hold_count = open_hold_count + 1, entry_count = entry_count + 1
    WHERE id = %(account_id)s AND status = 'active' AND balance_micros - reserved_micros >= %(quote_micros)s
        AND (%(open_limit)s::bigint IS NULL OR open_hold_count < %(open_limit)s)
    RETURNING *
), reservation AS (
    INSERT INTO billing_reservation (account_id, quote_micros, resolution)
    SELECT id, %(quote_micros)s, '' FROM account RETURNING id
), entry AS (
    INSERT INTO billing_ledgerentry (account_id, sequence, kind, amount_micros, balance_after_micros,
        reserved_after_micros, reservation_id, actor, reason)
    SELECT a.id, entry_count, 'hold', %(quote_micros)s, balance_micros, reserved_micros, r.id, '', ''
    FROM account a, reservation r
)
SELECT r.id, hold_count, open_hold_count FROM account, reservation r
"""
_RESOLVE: Final = """
WITH reservation AS (
    UPDATE billing_reservation SET {resolved}, resolved_at = statement_timestamp()
    WHERE id = %(reservation_id)s AND resolution = '' AND {guard}
    RETURNING *
), account AS (
    UPDATE billing_account a SET reserved_micros = reserved_micros - quote_micros,
        open_hold_count = open_hold_count - 1, entry_count = entry_count + 1 {charged}
    FROM reservation r WHERE a.id = r.account_id
    RETURNING a.*
)
INSERT INTO billing_ledgerentry (account_id, sequence, kind, amount_micros, balance_after_micros,
    reserved_after_micros, reservation_id, actor, reason)
SELECT a.id, entry_count, {kind}, {amount}, balance_micros, reserved_micros, r.id, '', ''
FROM account a, reservation r
RETURNING id
"""
SETTLE: Final = _RESOLVE.format(
    resolved="resolution = 'settled', settled_micros = %(cost_micros)s",
    guard="quote_micros >= %(cost_micros)s",
    charged=", balance_micros = balance_micros - %(cost_micros)s, spent_micros = spent_micros + %(cost_micros)s,"
    " settlement_count = settlement_count + 1",
    kind="'settle'",
    amount="%(cost_micros)s",
)
RELEASE: Final = _RESOLVE.format(
    resolved="resolution = 'released'", guard="true", charged="", kind="'release'", amount="quote_micros"
)


def open_account(*, name: str, opening_micros: int, actor: str) -> Account:
    """Open an account in its own transaction. Its first entry is the opening balance, unless that is zero.

    Raises NameTaken, or ValueError for a bad name, amount or actor.
    """
    name = name.strip()
    if not re.search(r"[^0-9\s]", name) or len(name) > 100:
        raise ValueError("name must have 1 to 100 characters and must not be a number.")
    if opening_micros:
        _check_amount(opening_micros)
    try:
        with transaction.atomic():
            account = Account.objects.create(name=name)
            if opening_micros:
                _append(
                    account=account,
                    kind=Kind.CREDIT,
                    amount_micros=opening_micros,
                    actor=_require_text(actor, "actor"),
                    reason="opening balance",
                )
    except IntegrityError as error:
        if Account.objects.filter(name=name).exists():
            raise NameTaken(f"An account named {name!r} already exists.") from error
        raise
    return account


def hold(*, account_id: int, quote_micros: int, open_limit: int | None = None) -> Hold:
    """Reserve the quote in the caller's transaction, which keeps the account locked until it ends.

    Raises Account.DoesNotExist, AccountSuspended, InsufficientBalance, or TooManyHolds when `open_limit` holds are
    already open.
    """
    _check_amount(quote_micros)
    _require_transaction()
    while not (row := _row(HOLD, account_id=account_id, quote_micros=quote_micros, open_limit=open_limit)):
        _refuse_hold(account_id, quote_micros, open_limit)
    return Hold(*row)


def settle(*, reservation_id: int, cost_micros: int) -> None:
    """Charge the cost, at most the quote, and free the rest of the hold, in the caller's transaction.

    A suspended account is charged too, because its work was accepted and delivered. Raises AlreadyResolved.
    """
    _check_amount(cost_micros)
    _require_transaction()
    if not _row(SETTLE, reservation_id=reservation_id, cost_micros=cost_micros):
        reservation = Reservation.objects.get(pk=reservation_id)
        if cost_micros > reservation.quote_micros:
            raise ValueError(
                f"cost_micros must not be over the quote of {reservation.quote_micros}, but is {cost_micros}."
            )
        raise AlreadyResolved(f"Reservation {reservation_id} is already resolved.")


def release(*, reservation_id: int) -> None:
    """Free the whole hold in the caller's transaction without a charge. Raises AlreadyResolved."""
    _require_transaction()
    if not _row(RELEASE, reservation_id=reservation_id):
        Reservation.objects.get(pk=reservation_id)
        raise AlreadyResolved(f"Reservation {reservation_id} is already resolved.")


def top_up(
    *, account_id: int, amount_micros: int, actor: str, reason: str, request_id: UUID | None = None
) -> LedgerEntry:
    """Add received money to the account, in its own transaction.

    A second call adds the money again, unless both calls have the same `request_id`. Then the second call raises
    MovedBefore.
    """
    _check_amount(amount_micros)
    with transaction.atomic():
        account = _lock(account_id=account_id)
        _refuse_repetition(request_id)
        return _append(
            account=account,
            kind=Kind.CREDIT,
            amount_micros=amount_micros,
            actor=_require_text(actor, "actor"),
            reason=_require_text(reason, "reason"),
            request_id=request_id,
        )


def refund(
    *, account_id: int, amount_micros: int, actor: str, reason: str, request_id: UUID | None = None
) -> LedgerEntry:
    """Take refunded money out of the account, in its own transaction.

    Reserved money cannot be refunded: raises InsufficientBalance. `request_id` works as in `top_up`.
    """
    _check_amount(amount_micros)
    with transaction.atomic():
        account = _lock(account_id=account_id)
        _refuse_repetition(request_id)
        _require(account, amount_micros)
        return _append(
            account=account,
            kind=Kind.REFUND,
            amount_micros=amount_micros,
            actor=_require_text(actor, "actor"),
            reason=_require_text(reason, "reason"),
            request_id=request_id,
        )


def _require_transaction() -> None:
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("Money moves only inside a transaction.")


def _lock(*, account_id: int) -> Account:
    _require_transaction()
    # With FOR NO KEY UPDATE, rows that refer to the account can still be inserted, which avoids deadlocks.
    return Account.objects.select_for_update(no_key=True).get(pk=account_id)


def _refuse_hold(account_id: int, quote_micros: int, open_limit: int | None) -> None:
    """Raise the reason against the hold.

    Without a reason the account is now locked, and the hold will succeed.
    """
    account = _lock(account_id=account_id)
    if account.status != Account.Status.ACTIVE:
        raise AccountSuspended(f"Account {account_id} is suspended.")
    if open_limit is not None and account.open_hold_count >= open_limit:
        raise TooManyHolds(f"Account {account_id} already has {account.open_hold_count} open holds.")
    _require(account, quote_micros)


def _row(statement: str, **values: int | None) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        row: tuple[Any, ...] | None = cursor.fetchone()
    return row


def _append(
    *,
    account: Account,
    kind: LedgerEntry.Kind,
    amount_micros: int,
    actor: str = "",
    reason: str = "",
    request_id: UUID | None = None,
) -> LedgerEntry:
    """Write the locked account's new balance and the entry that explains it, for a credit or a refund."""
    account.balance_micros += amount_micros if kind == Kind.CREDIT else -amount_micros
    account.entry_count += 1
    account.save(update_fields=["balance_micros", "entry_count"])
    return LedgerEntry.objects.create(
        account=account,
        sequence=account.entry_count,
        kind=kind,
        amount_micros=amount_micros,
        balance_after_micros=account.balance_micros,
        reserved_after_micros=account.reserved_micros,
        actor=actor,
        reason=reason,
        request_id=request_id,
    )


def _refuse_repetition(request_id: UUID | None) -> None:
    # The account's lock puts two clicks in order. The column is unique in case code runs without that lock.
    if request_id is not None and (entry := LedgerEntry.objects.filter(request_id=request_id).first()):
        moved = f"{entry.kind} of {format_usd(entry.amount_micros)} USD"
        raise MovedBefore(
            f"This was done before by entry {entry.sequence} ({moved}). No money was moved this time."
        )


def _check_amount(amount_micros: int) -> None:
    if not 0 < amount_micros <= MAX_MICROS or amount_micros % MIN_STEP_MICROS:
        raise ValueError(
            f"An amount must be a positive multiple of 100 micros up to {MAX_MICROS}, not {amount_micros}."
        )


def _require(account: Account, amount_micros: int) -> None:
    if account.available_micros < amount_micros:
        available, required = format_usd(account.available_micros), format_usd(amount_micros)
        raise InsufficientBalance(
            f"Account {account.pk} has {available} USD available, but {required} USD are required."
        )


def _require_text(text: str, field: str) -> str:
    """Return the text without surrounding blanks. Raises ValueError for a blank text."""
    if not text.strip():
        raise ValueError(f"{field} must not be blank.")
    return text.strip()
