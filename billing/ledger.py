"""Moves money: the only module that writes balances, reservations and ledger entries.

Every change of an account goes with exactly one entry, under the account's row lock. Whoever locks a
generation too, locks it before: the order is generation, reservation, account.
"""

import re
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from billing.models import Account, LedgerEntry, Reservation
from billing.money import LEAST_STEP_MICROS, format_usd

Kind = LedgerEntry.Kind

# A billion dollars a movement: far below what a 64-bit column holds; beyond it is a slip of the finger.
MOST_MICROS = 10**15


class InsufficientBalance(Exception):
    """The account has less available than is asked for."""


class AccountSuspended(Exception):
    """The account is suspended and may not hold money for new work."""


class AlreadyResolved(Exception):
    """The reservation was settled or released before."""


class MovedBefore(Exception):
    """The money of this request was moved before, so nothing was moved now."""


class NameTaken(Exception):
    """Another account has this name."""


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


def lock_account(*, account_id: int) -> Account:
    """The account, locked until the caller's transaction ends. Raises AccountSuspended, DoesNotExist."""
    account = _lock(account_id=account_id)
    if account.status != Account.Status.ACTIVE:
        raise AccountSuspended(f"Account {account_id} is suspended.")
    return account


def hold(*, account_id: int, quote_micros: int) -> Reservation:
    """Reserves the quote in the caller's transaction. Raises InsufficientBalance and AccountSuspended."""
    _check_amount(quote_micros)
    account = lock_account(account_id=account_id)
    _require(account, quote_micros)
    reservation = Reservation.objects.create(account=account, quote_micros=quote_micros)
    _append(account=account, kind=Kind.HOLD, amount_micros=quote_micros, reservation=reservation)
    return reservation


def settle(*, reservation_id: int, cost_micros: int) -> None:
    """Charges the cost, at most the quote, and frees the rest, in the caller's transaction.

    Done for a suspended account too: the work was accepted and delivered. Raises AlreadyResolved.
    """
    _check_amount(cost_micros)
    reservation = Reservation.objects.get(pk=reservation_id)
    if cost_micros > reservation.quote_micros:
        raise ValueError(f"A cost of {cost_micros} micros is over the quote of {reservation.quote_micros}.")
    account = _resolve(reservation, Reservation.Resolution.SETTLED, settled_micros=cost_micros)
    account.spent_micros += cost_micros
    account.settlement_count += 1
    _append(account=account, kind=Kind.SETTLE, amount_micros=cost_micros, reservation=reservation)


def release(*, reservation_id: int) -> None:
    """Frees the whole hold in the caller's transaction: nothing is charged. Raises AlreadyResolved."""
    reservation = Reservation.objects.get(pk=reservation_id)
    account = _resolve(reservation, Reservation.Resolution.RELEASED, settled_micros=None)
    _append(
        account=account, kind=Kind.RELEASE, amount_micros=reservation.quote_micros, reservation=reservation
    )


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


def _lock(*, account_id: int) -> Account:
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("Money moves only inside a transaction.")
    # NO KEY: rows that merely point to the account can be inserted meanwhile, which keeps deadlocks away.
    return Account.objects.select_for_update(no_key=True).get(pk=account_id)


def _resolve(reservation: Reservation, resolution: str, *, settled_micros: int | None) -> Account:
    """Closes the reservation by the one guarded update that decides a race, and gives its account, locked."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("Money moves only inside a transaction.")
    changed = Reservation.objects.filter(pk=reservation.pk, resolution=Reservation.Resolution.OPEN).update(
        resolution=resolution, settled_micros=settled_micros, resolved_at=Now()
    )
    if changed != 1:
        raise AlreadyResolved(f"Reservation {reservation.pk} was resolved before.")
    return _lock(account_id=reservation.account_id)


def _append(
    *,
    account: Account,
    kind: LedgerEntry.Kind,
    amount_micros: int,
    reservation: Reservation | None = None,
    actor: str = "",
    reason: str = "",
    request_id: UUID | None = None,
) -> LedgerEntry:
    """Writes the locked account and the entry that explains it."""
    held_micros = reservation.quote_micros if reservation else 0
    account.balance_micros += {Kind.CREDIT: 1, Kind.REFUND: -1, Kind.SETTLE: -1}.get(kind, 0) * amount_micros
    account.reserved_micros += held_micros if kind == Kind.HOLD else -held_micros
    account.entry_count += 1
    account.save(
        update_fields=["balance_micros", "reserved_micros", "spent_micros", "settlement_count", "entry_count"]
    )
    return LedgerEntry.objects.create(
        account=account,
        sequence=account.entry_count,
        kind=kind,
        amount_micros=amount_micros,
        balance_after_micros=account.balance_micros,
        reserved_after_micros=account.reserved_micros,
        reservation=reservation,
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
    if not 0 < amount_micros <= MOST_MICROS or amount_micros % LEAST_STEP_MICROS:
        raise ValueError(
            f"{amount_micros} micros is not a positive multiple of 100 up to {MOST_MICROS} micros."
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
