"""Single movements of money: a hold or a settlement alone, where production makes it with the rows it pays for."""

from typing import Any, NamedTuple

from billing import holds
from storage.postgresql import plain_sql

_HOLD = f"WITH {holds.PAYER}, {holds.hold()} SELECT reservation_id, number, open_count FROM hold"  # noqa: S608
_SETTLE = f"""
WITH given AS (SELECT %(reservation_id)s::bigint AS reservation_id), {holds.settle(after="given")}
SELECT reservation_id FROM entry
"""  # noqa: S608


class Hold(NamedTuple):
    """A new hold, its number among all holds of the account, and the number of open holds with it."""

    reservation_id: int
    number: int
    open_count: int


def hold_all(
    *,
    account_id: int,
    quote_micros: int,
    count: int,
    is_async: bool = False,
    open_limit: int | None = None,
    api_key_id: int | None = None,
) -> list[Hold]:
    """Hold the quote `count` times. Raises what `holds.refuse_hold` raises."""
    request: dict[str, Any] = {
        "account_id": account_id,
        "quote_micros": quote_micros,
        "count": count,
        "is_async": is_async,
        "open_limit": open_limit,
        "api_key_id": api_key_id,
    }
    while not (rows := plain_sql.execute(_HOLD, holds.hold_values(**request))):
        holds.refuse_hold(**request)
    return [Hold(*row) for row in rows]


def hold(
    *,
    account_id: int,
    quote_micros: int,
    is_async: bool = False,
    open_limit: int | None = None,
    api_key_id: int | None = None,
) -> Hold:
    """Hold the quote. Raises what `holds.refuse_hold` raises."""
    [held] = hold_all(
        account_id=account_id,
        quote_micros=quote_micros,
        count=1,
        is_async=is_async,
        open_limit=open_limit,
        api_key_id=api_key_id,
    )
    return held


def settle(*, reservation_id: int, cost_micros: int) -> None:
    """Charge the cost. Raises what `holds.refuse_settlement` raises."""
    values = {"reservation_id": reservation_id, **holds.settle_values(cost_micros=cost_micros)}
    if not plain_sql.execute(_SETTLE, values):
        holds.refuse_settlement(reservation_id=reservation_id, cost_micros=cost_micros)
