"""Redemption codes. Only this module writes them.

A code is six groups of five characters of Crockford's base32, which has no letter that looks like a digit: 150 random
bits, of which the last 20 are shown to staff. The database stores an HMAC-SHA-256 of the code under a pepper. The
code's text exists only in the reply that shows it to staff.
"""

import secrets
import unicodedata
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db import transaction
from django.db.models import Count, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from billing import ledger, money
from billing.income_models import RedemptionCode
from billing.models import Account
from billing.secret_keys import Pepper, with_each

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
GROUP_COUNT: Final = 6
GROUP_LENGTH: Final = 5
# More codes at once are a typing error.
MAX_COUNT: Final = 1000
MAX_VALID_DAYS: Final = 3650
# This is longer than any spelling of a code, so a longer text is refused before it is hashed.
MAX_CHARACTERS: Final = 200
# The actor of a code's credit. No member of staff has a name with a blank.
ACTOR: Final = "redemption code"

_PEPPER: Final = Pepper(b"zekron billing redemption-code pepper 1")
INVALID: Final = "code must be a redemption code that is valid and was not redeemed."
# The characters that people read for others.
_READ: Final = str.maketrans("OIL", "011")
# What people and programs write between the groups and around a code: blanks, ends of lines, characters that show
# nothing, and dashes of any length. The minus sign is a dash to a reader, but not to Unicode.
_LEFT_OUT: Final = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Pd"})
_MINUS: Final = "\N{MINUS SIGN}"


class InvalidCode(Exception):
    """The text is no code that the account can redeem. Which reason there is, nobody is told."""


class NotRevocable(Exception):
    """The code is already redeemed or revoked."""


class Redemption(NamedTuple):
    """A redeemed code, and the account as it is now. `is_replay` if the account had redeemed the code before."""

    code: RedemptionCode
    account: Account
    is_replay: bool


def create(
    *, amount_micros: int, count: int, expires_at: datetime, actor: str, reason: str
) -> list[tuple[RedemptionCode, str]]:
    """Make codes of this amount each, and return them with their texts. A text cannot be recovered later.

    Raises ValueError for a bad amount, count, expiry, actor or reason.
    """
    money.check_amount(amount_micros)
    if not 1 <= count <= MAX_COUNT:
        raise ValueError(f"count must be from 1 to {MAX_COUNT}, not {count}.")
    if not timedelta(0) < expires_at - timezone.now() <= timedelta(days=MAX_VALID_DAYS):
        raise ValueError(f"The expiry must be in the next {MAX_VALID_DAYS} days.")
    actor, reason = ledger.check_text(actor, "actor"), ledger.check_text(reason, "reason")
    texts = [_make_text() for _ in range(count)]
    made = RedemptionCode.objects.bulk_create(
        RedemptionCode(
            digest=digest(text),
            pepper=_PEPPER.name(),
            last_four=text[-4:],
            amount_micros=amount_micros,
            created_by=actor,
            reason=reason,
            expires_at=expires_at,
        )
        for text in texts
    )
    return list(zip(made, texts, strict=True))


def redeem(*, account_id: int, text: str) -> Redemption:
    """Credit the code's amount to the account, in its own transaction. Raises InvalidCode.

    A second call by the same account credits nothing and returns the first redemption. A code that is unknown, expired,
    revoked or redeemed by another account gives the same error.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidCode(INVALID)
    digests = with_each(lambda secret_key: digest(text, secret_key=secret_key))
    codes = RedemptionCode.objects.filter(digest__in=digests)
    with transaction.atomic():
        # The update waits for another one of the same code, and then finds it redeemed.
        is_first = bool(_list_live(codes).update(redeemed_at=Now(), redeemed_by=account_id))
        code = codes.filter(redeemed_by=account_id).first()
        if code is None:
            raise InvalidCode(INVALID)
        if is_first:
            ledger.top_up(
                account_id=account_id,
                amount_micros=code.amount_micros,
                actor=ACTOR,
                reason=str(code),
                request_id=code.credit_id,
            )
        return Redemption(code, Account.objects.get(pk=account_id), not is_first)


def revoke(*, code_id: int) -> None:
    """Keep the code from being redeemed. Raises NotRevocable or RedemptionCode.DoesNotExist."""
    unused = RedemptionCode.objects.filter(pk=code_id, redeemed_at__isnull=True, revoked_at__isnull=True)
    if unused.update(revoked_at=Now()) != 1:
        code = RedemptionCode.objects.get(pk=code_id)
        raise NotRevocable(f"The {code} is already {'revoked' if code.revoked_at else 'redeemed'}.")


def digest(text: str, *, secret_key: str | None = None) -> str:
    """Return the stored form of a code's text, however it is written: its HMAC-SHA-256 in hex."""
    spelled = "".join(filter(_is_read, text.upper())).translate(_READ)
    return _PEPPER.digest(spelled, secret_key=secret_key)


def count_by_secret_key() -> list[int]:
    """Return the number of live codes under each secret key of the ring, and last of those under an unknown one."""
    live = _list_live(RedemptionCode.objects.order_by())
    counts = dict(live.values_list("pepper").annotate(Count("pk")))
    return _PEPPER.share_out(counts)


def _list_live(codes: QuerySet[RedemptionCode]) -> QuerySet[RedemptionCode]:
    return codes.filter(redeemed_at__isnull=True, revoked_at__isnull=True, expires_at__gt=Now())


def _is_read(character: str) -> bool:
    return unicodedata.category(character) not in _LEFT_OUT and character != _MINUS


def _make_text() -> str:
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP_LENGTH)) for _ in range(GROUP_COUNT))
    return "-".join(groups)
