"""The ledger. Only this module and `holds.py` write balances, reservations, debts and ledger entries.

Every change of a balance writes exactly one entry, under the lock of the account's row. Code that locks several rows
must lock them in this order: redemption code or order, generation, reservation, account, key.
"""

from typing import Final
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from billing import account_names, accounts
from billing.debt_models import DebtEntry
from billing.models import Account, LedgerEntry
from billing.money import check_amount, format_usd

Kind = LedgerEntry.Kind

# The lengths of the columns.
_MAX_CHARACTERS: Final = {"actor": 150, "reason": 500}

# The actor of an entry by which a credit pays a debt. No member of staff has a name with a blank.
DEBT_ACTOR: Final = "debt payment"


class InsufficientBalance(Exception):
    """The account has less money available than required."""


class MovedBefore(Exception):
    """An earlier request with the same id moved the money, so this one moved nothing."""


class NameTaken(Exception):
    """Another account already has this name."""


def open_account(*, name: str, opening_micros: int, actor: str) -> Account:
    """Open an account in its own transaction. Its first entry is the opening balance, unless that is zero.

    Raises NameTaken, or ValueError for a bad name, amount or actor.
    """
    name = account_names.normalise(name)
    if accounts.named_alike(name).exists():
        raise NameTaken(f"An account named {name!r} already exists.")
    if opening_micros:
        check_amount(opening_micros)
    try:
        with transaction.atomic():
            account = Account.objects.create(name=name)
            if opening_micros:
                _append(
                    account=account,
                    kind=Kind.CREDIT,
                    amount_micros=opening_micros,
                    actor=check_text(actor, "actor"),
                    reason="opening balance",
                )
    except IntegrityError as error:
        if Account.objects.filter(name=name).exists():
            raise NameTaken(f"An account named {name!r} already exists.") from error
        raise
    return account


def top_up(
    *, account_id: int, amount_micros: int, actor: str, reason: str, request_id: UUID | None = None
) -> LedgerEntry:
    """Add received money to the account, in its own transaction, and pay the account's debt with it.

    A second call adds the money again, unless both calls have the same `request_id`. Then the second call raises
    MovedBefore. Returns the entry of the credit. A second entry takes out what was paid of a debt, and `entry.account`
    has the balance after both.
    """
    check_amount(amount_micros)
    with transaction.atomic():
        account = _lock(account_id=account_id)
        _refuse_repetition(request_id)
        entry = _append(
            account=account,
            kind=Kind.CREDIT,
            amount_micros=amount_micros,
            actor=check_text(actor, "actor"),
            reason=check_text(reason, "reason"),
            request_id=request_id,
        )
        _pay_debt(account, entry)
        return entry


def refund(
    *, account_id: int, amount_micros: int, actor: str, reason: str, request_id: UUID | None = None
) -> LedgerEntry:
    """Take refunded money out of the account, in its own transaction.

    Reserved money cannot be refunded: raises InsufficientBalance. `request_id` works as in `top_up`.
    """
    check_amount(amount_micros)
    with transaction.atomic():
        account = _lock(account_id=account_id)
        _refuse_repetition(request_id)
        require_available(account, amount_micros)
        return _append(
            account=account,
            kind=Kind.REFUND,
            amount_micros=amount_micros,
            actor=check_text(actor, "actor"),
            reason=check_text(reason, "reason"),
            request_id=request_id,
        )


def reverse(*, account_id: int, amount_micros: int, actor: str, reason: str, request_id: UUID) -> None:
    """Take a payment that was reversed out of the account, in its own transaction.

    Reserved money stays. The part that is not available becomes a debt. `request_id` works as in `top_up`.
    """
    check_amount(amount_micros)
    with transaction.atomic():
        account = _lock(account_id=account_id)
        _refuse_repetition(request_id)
        text = check_text(reason, "reason")
        if taken_micros := min(amount_micros, account.available_micros):
            _append(
                account=account,
                kind=Kind.REFUND,
                amount_micros=taken_micros,
                actor=check_text(actor, "actor"),
                reason=text,
                request_id=request_id,
            )
        if owed_micros := amount_micros - taken_micros:
            _change_debt(account, owed_micros)
            DebtEntry.objects.create(
                account=account,
                kind=DebtEntry.Kind.RAISED,
                amount_micros=owed_micros,
                debt_after_micros=account.debt_micros,
                request_id=request_id,
                reason=text,
            )


def require_transaction() -> None:
    """Raise TransactionManagementError outside a transaction."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("Money moves only inside a transaction.")


def _lock(*, account_id: int) -> Account:
    require_transaction()
    return accounts.lock(account_id=account_id)


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


def _pay_debt(account: Account, credit: LedgerEntry) -> None:
    """Pay the locked account's debt out of a new credit, as far as the credit goes."""
    paid_micros = min(account.debt_micros, credit.amount_micros)
    if not paid_micros:
        return
    reason = f"paid with entry {credit.sequence}"
    payment = _append(
        account=account, kind=Kind.REFUND, amount_micros=paid_micros, actor=DEBT_ACTOR, reason=reason
    )
    _change_debt(account, -paid_micros)
    DebtEntry.objects.create(
        account=account,
        kind=DebtEntry.Kind.PAID,
        amount_micros=paid_micros,
        debt_after_micros=account.debt_micros,
        ledger_entry=payment,
        reason=reason,
    )


def _change_debt(account: Account, change_micros: int) -> None:
    account.debt_micros += change_micros
    account.save(update_fields=["debt_micros"])


def _refuse_repetition(request_id: UUID | None) -> None:
    # The account's lock puts two clicks in order. The column is unique in case code runs without that lock.
    if request_id is not None and (entry := LedgerEntry.objects.filter(request_id=request_id).first()):
        moved = f"{entry.kind} of {format_usd(entry.amount_micros)} USD"
        raise MovedBefore(
            f"This was done before by entry {entry.sequence} ({moved}). No money was moved this time."
        )


def require_available(account: Account, amount_micros: int) -> None:
    """Raise InsufficientBalance if the account has less than this amount available."""
    if account.available_micros < amount_micros:
        available, required = format_usd(account.available_micros), format_usd(amount_micros)
        raise InsufficientBalance(
            f"Account {account.pk} has {available} USD available, but {required} USD are required."
        )


def check_text(text: str, field: str) -> str:
    """Return an actor or a reason without surrounding blanks. Raises ValueError for one that cannot be stored."""
    text = text.strip()
    if not text:
        raise ValueError(f"{field} must not be blank.")
    most = _MAX_CHARACTERS[field]
    if len(text) > most or "\0" in text:
        raise ValueError(f"{field} must have at most {most} characters, and none of them may be NUL.")
    return text
