"""Invariants that must hold once all is quiet."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from billing.audit import audit as audit_money
from billing.models import Account
from storage import images
from tests.simulation import painting
from tests.simulation.clients import Client
from tests.simulation.commit_checker import CommitChecker
from tests.simulation.wishes import Wish
from workers.audit.rows import find_disagreements as audit_work
from workers.lifecycle import attempt_statements
from workers.models import Generation


def of_the_quiet(
    commit_checker: CommitChecker, clients: Iterable[Client], credits_micros: Mapping[int, int]
) -> Iterator[str]:
    """Check the quiet after the faults.

    Nothing is open or held, each account has had what staff paid in, what clients were told is so, and every image
    shows what was made for its owner.
    """
    yield from audit_money()
    yield from audit_work()
    for account in Account.objects.filter(pk__in=credits_micros):
        if account.balance_micros + account.spent_micros != credits_micros[account.pk]:
            yield f"{credits_micros[account.pk]} micros were paid in, and an account has had another sum"
        if account.reserved_micros:
            yield f"{account.reserved_micros} micros are still reserved"
    rows = {
        row.pk: row for row in Generation.objects.select_related("image").filter(pk__in=commit_checker.rows)
    }
    for client in clients:
        yield from client.wrong
        for generation_id, status in client.told:
            yield from _told(rows.get(generation_id), status)
    for row in rows.values():
        if row.is_open:
            yield f"a generation is still {row.status}"
        if row.status == "completed":
            yield from _image(row, commit_checker.wish_of(row.pk))


def _told(row: Generation | None, status: str) -> Iterator[str]:
    if row is None:
        yield f"a client was told that its generation is {status}, and there is no such generation"
    elif status == "deleted":
        if row.prompt or "seed" in row.parameters:
            yield "a client was told that its generation is deleted, and its prompt or its seed is kept"
    elif status == "image deleted":
        if not _is_deleted(row):
            yield "a client was told that its image is deleted, and it expires later"
    elif status == "partial":
        if not row.are_partials_delivered:
            yield "a client got a partial image, and the row does not say so"
    elif status == "unwanted":
        if row.status not in ("cancelled", "failed"):
            yield f"a client was told that its generation will be cancelled, and it is {row.status}"
    elif status not in ("accepted", row.status):
        yield f"a client was told that its generation is {status}, and it is {row.status}"


def _is_deleted(row: Generation) -> bool:
    assert row.ended_at is not None
    return row.expires_at is not None and row.expires_at < row.ended_at + attempt_statements.IMAGE_LIFE


def _image(row: Generation, wish: Wish) -> Iterator[str]:
    if wish.prompt.startswith((painting.DEADLY, painting.POISON)):
        yield f"{wish.prompt!r} was completed"
        return
    try:
        pixels: Any = painting.pixels_of(images.load(image=row.image))
    except (images.ImageGone, images.ImageUnreadable) as error:
        if not _is_deleted(row):
            yield f"the image of {wish.prompt!r} cannot be read: {type(error).__name__}"
        return
    if _is_deleted(row):
        yield f"the image of {wish.prompt!r} is deleted and can be read"
    elif pixels != painting.expected(wish.prompt, row.parameters["seed"]):
        yield f"the image of {wish.prompt!r} shows something else"
