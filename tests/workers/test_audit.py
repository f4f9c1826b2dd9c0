"""The audit of generations against money: it is silent when all is well, and names what is not."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from billing import ledger
from billing.models import Account, Reservation
from tests import stage
from workers.audit import audit
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)


def test_generations_in_every_status_agree_with_their_money():
    owner = stage.account()
    for status in Status:
        stage.generation_in(status, owner)
    assert list(audit()) == []
    out = StringIO()
    call_command("audit_ledger", stdout=out)
    assert out.getvalue() == "The ledger adds up.\n"


@pytest.mark.parametrize("status", [Status.QUEUED, Status.COMPLETED, Status.FAILED])
def test_a_generation_whose_reservation_ended_otherwise_is_named(status):
    generation = stage.generation_in(status, stage.account())
    other = "released" if status == Status.COMPLETED else "settled"
    settled_micros = stage.QUOTE_MICROS if other == "settled" else None
    Reservation.objects.filter(pk=generation.reservation_id).update(
        resolution=other, settled_micros=settled_micros, resolved_at=stage.NOW
    )
    assert any(f"generation {generation.pk} ({status}" in problem and other in problem for problem in audit())


def test_a_cost_that_is_not_what_was_settled_is_named():
    done = stage.generation_in(Status.COMPLETED, stage.account())
    Generation.objects.filter(pk=done.pk).update(cost_micros=100)
    problems = list(audit())
    assert any("its cost is 100 micros and 26700 are settled" in problem for problem in problems)
    assert any(f"account {done.account_id}: spent 26700" in problem for problem in problems)


def test_a_quote_that_is_not_what_was_held_is_named():
    queued = stage.submit(stage.account())
    Generation.objects.filter(pk=queued.pk).update(quote_micros=100)
    assert any("its quote is 100 micros and its reservation's 26700" in problem for problem in audit())


def test_money_that_is_held_for_no_generation_is_named():
    owner = stage.account()
    with transaction.atomic():
        reservation = ledger.hold(account_id=owner.pk, quote_micros=100)
    assert list(audit()) == [f"reservation {reservation.pk} of account {owner.pk} belongs to no generation"]


def test_the_command_prints_the_rows_and_fails():
    owner: Account = stage.account(balance_micros=1000)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE billing_account SET balance_micros = 900")
    out = StringIO()
    with pytest.raises(CommandError, match="2 things do not add up") as caught:
        call_command("audit_ledger", stdout=out)
    assert caught.value.returncode == 1
    assert out.getvalue().count(f"account {owner.pk}: balance 900") == 2
