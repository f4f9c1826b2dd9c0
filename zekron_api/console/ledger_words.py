"""The ledger of an account in plain words, page by page."""

from typing import Any, Final, NamedTuple

from django.http import QueryDict

from billing import card_top_ups, codes, ledger
from billing.models import LedgerEntry
from workers.usage import entries
from workers.usage.entries import Entry

Kind = LedgerEntry.Kind

PAGE_SIZE: Final = 25
# The kinds that a person may choose to see, by the name in the address.
FILTERS: Final = {
    "": "All",
    Kind.CREDIT.value: "Credits",
    Kind.REFUND.value: "Taken out",
    Kind.SETTLE.value: "Charges",
}
_WORDS: Final = {
    (Kind.CREDIT, codes.ACTOR): "Redemption code",
    (Kind.CREDIT, card_top_ups.ACTOR): "Card payment",
    (Kind.REFUND, card_top_ups.ACTOR): "Card payment taken back",
    (Kind.REFUND, ledger.DEBT_ACTOR): "Debt paid",
    (Kind.CREDIT, ""): "Credit",
    (Kind.REFUND, ""): "Refund to you",
    (Kind.HOLD, ""): "Reserved for a picture",
    (Kind.SETTLE, ""): "Picture charged",
    (Kind.RELEASE, ""): "Reservation given back",
}
# The sign of a movement of the balance. A hold and its release move the reserved part alone.
_SIGNS: Final = {Kind.CREDIT: "+", Kind.REFUND: "\N{MINUS SIGN}", Kind.SETTLE: "\N{MINUS SIGN}"}


class Line(NamedTuple):
    """An entry with what it is in words, and the sign of its change of the balance."""

    entry: Entry
    words: str
    sign: str


def read_page(query: QueryDict, *, account_id: int) -> dict[str, Any]:
    """Return the page of the ledger that the address names. Words that name none stand for the first page of all."""
    kind = query.get("kind", "")
    kind = kind if kind in FILTERS else ""
    page = entries.find_page(
        account_id=account_id,
        kind=Kind(kind) if kind else None,
        start=None,
        end=None,
        before=_read_place(query.get("before", "")),
        limit=PAGE_SIZE,
    )
    return {
        "kind": kind,
        "filters": FILTERS,
        "lines": [_line(entry) for entry in page.entries],
        "next_before": page.next_before,
        "is_first_page": "before" not in query,
    }


def _line(entry: Entry) -> Line:
    kind = Kind(entry.row.kind)
    words = _WORDS.get((kind, entry.row.actor)) or _WORDS[kind, ""]
    return Line(entry, words, _SIGNS.get(kind, ""))


def _read_place(text: str) -> int | None:
    is_place = text.isascii() and text.isdigit() and len(text) <= 18
    return int(text) or None if is_place else None
