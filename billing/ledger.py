"""Moves money: the only module that writes balances, reservations and ledger entries.

Every change of an account goes with exactly one entry, under the account's row lock. Whoever locks a
generation too, locks it before: the order is generation, reservation, account.
"""

import re
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from billing.models import Account, LedgerEntry, Reservation
from billing.money import MIN_STEP_MICROS, format_usd

Kind = LedgerEntry.Kind

# A billion dollars a movement: far below what a 64-bit column holds; beyond it is a slip of the finger.
MAX_MICROS = 10**15


class InsufficientBalance(Exception):
    """The account has less available than is asked for."""


class AccountSuspended(Exception):
    """The account is suspended and may not hold money for new work."""


class TooManyHolds(Exception):
    """The account has as many open holds as it may have at once."""


class AlreadyResolved(Exception):
    """The reservation was settled or released before."""


class MovedBefore(Exception):
    """The money of this request was moved before, so nothing was moved now."""


class NameTaken(Exception):
    """Another account has this name."""


class Hold(NamedTuple):
    """Money held: `number` counts the account's holds from 1, `open_count` those that are open, this one included."""

    reservation_id: int
    number: int
    open_count: int


# Each movement of a hold is one statement, so that the account's row, which all its requests share, is locked as
# shortly as can be. The UPDATE decides: a row that another transaction has changed meanwhile is looked at anew.
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
    """A new account, in its own transaction; its opening balance is its first entry. Raises NameTaken."""
    name = name.strip()
    if not re.search(r"[^0-9\s]", name) or len(name) > 100:
        raise ValueError("An account's name has 1 to 100 characters and is not a number.")
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
                    actor=_said(actor, "actor"),
                    reason="opening balance",
                )
    except IntegrityError as error:
        if Account.objects.filter(name=name).exists():
            raise NameTaken(f"There is an account named {name!r} already.") from error
        raise
    return account


def hold(*, account_id: int, quote_micros: int, open_limit: int | None = None) -> Hold:
    """Reserves the quote in the caller's transaction, and keeps the account locked until that ends.

    Raises Account.DoesNotExist, AccountSuspended, TooManyHolds (`open_limit` are open) or InsufficientBalance.
    """
    _check_amount(quote_micros)
    _require_transaction()
    while not (row := _row(HOLD, account_id=account_id, quote_micros=quote_micros, open_limit=open_limit)):
        _refuse_hold(account_id, quote_micros, open_limit)
    return Hold(*row)


def settle(*, reservation_id: int, cost_micros: int) -> None:
    """Charges the cost, at most the quote, and frees the rest, in the caller's transaction.

    Done for a suspended account too: the work was accepted and delivered. Raises AlreadyResolved.
    """
    _check_amount(cost_micros)
    _require_transaction()
    if not _row(SETTLE, reservation_id=reservation_id, cost_micros=cost_micros):
        reservation = Reservation.objects.get(pk=reservation_id)
        if cost_micros > reservation.quote_micros:
            raise ValueError(
                f"A cost of {cost_micros} micros is over the quote of {reservation.quote_micros}."
            )
        raise AlreadyResolved(f"Reservation {reservation_id} was resolved before.")


def release(*, reservation_id: int) -> None:
    """Frees the whole hold in the caller's transaction: nothing is charged. Raises AlreadyResolved."""
    _require_transaction()
    if not _row(RELEASE, reservation_id=reservation_id):
        Reservation.objects.get(pk=reservation_id)
        raise AlreadyResolved(f"Reservation {reservation_id} was resolved before.")


def top_up(
    *, account_id: int, amount_micros: int, actor: str, reason: str, request_id: UUID | None = None
) -> LedgerEntry:
    """Adds money that came in, in a transaction of its own. Called twice it adds twice, unless both calls have the
    same `request_id`: then the second raises MovedBefore.
    """
    _check_amount(amount_micros)
    with transaction.atomic():
        account = _lock(account_id=account_id)
        _refuse_repetition(request_id)
        return _append(
            account=account,
            kind=Kind.CREDIT,
            amount_micros=amount_micros,
            actor=_said(actor, "actor"),
            reason=_said(reason, "reason"),
            request_id=request_id,
        )


def refund(
    *, account_id: int, amount_micros: int, actor: str, reason: str, request_id: UUID | None = None
) -> LedgerEntry:
    """Takes out money that is paid back, in its own transaction. Never takes what is reserved: raises
    InsufficientBalance. A `request_id` does what it does for `top_up`.
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
            actor=_said(actor, "actor"),
            reason=_said(reason, "reason"),
            request_id=request_id,
        )


def _require_transaction() -> None:
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("Money moves only inside a transaction.")


def _lock(*, account_id: int) -> Account:
    _require_transaction()
    # NO KEY: rows that merely point to the account can be inserted meanwhile, which keeps deadlocks away.
    return Account.objects.select_for_update(no_key=True).get(pk=account_id)


def _refuse_hold(account_id: int, quote_micros: int, open_limit: int | None) -> None:
    """Raises what stands in the way. If nothing does any more, the account is locked and the hold will succeed."""
    account = _lock(account_id=account_id)
    if account.status != Account.Status.ACTIVE:
        raise AccountSuspended(f"Account {account_id} is suspended.")
    if open_limit is not None and account.open_hold_count >= open_limit:
        raise TooManyHolds(f"Account {account_id} has {account.open_hold_count} holds open.")
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
    """Writes the locked account and the entry that explains it: money that came in or went out."""
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
    # The account's lock makes two clicks take turns; the column is unique for whatever does not hold that lock.
    if request_id is not None and (entry := LedgerEntry.objects.filter(request_id=request_id).first()):
        moved = f"{entry.kind} of {format_usd(entry.amount_micros)} USD"
        raise MovedBefore(f"This was done before ({moved}, entry {entry.sequence}); nothing was moved now.")


def _check_amount(amount_micros: int) -> None:
    if not 0 < amount_micros <= MAX_MICROS or amount_micros % MIN_STEP_MICROS:
        raise ValueError(
            f"{amount_micros} micros is not a positive multiple of 100 up to {MAX_MICROS} micros."
        )


def _require(account: Account, amount_micros: int) -> None:
    if account.available_micros < amount_micros:
        available, asked = format_usd(account.available_micros), format_usd(amount_micros)
        raise InsufficientBalance(f"Account {account.pk} has {available} USD available, and not {asked}.")


def _said(text: str, what: str) -> str:
    """The text without surrounding blanks; whoever moves money by hand says who and why."""
    if not text.strip():
        raise ValueError(f"Moving money needs {what}: it is blank.")
    return text.strip()
