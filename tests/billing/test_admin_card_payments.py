"""Card payments and debts on the admin's pages: shown, found and never changed."""

from uuid import uuid4

import pytest
from django.test import Client

from billing import card_refunds, card_top_ups, ledger, stripe_events
from billing.models import Account
from tests.billing.admin_client import ACCOUNTS, movement, page
from tests.billing.stripe_stub import StripeStub

pytestmark = pytest.mark.django_db
PAGES = ("topuporder", "cardrefund", "toldrefund", "carddispute", "cardmovement", "debtentry")


def test_card_payments_are_listed_found_and_never_changed(
    staff: Client, account: Account, stripe: StripeStub
) -> None:
    made = card_top_ups.order(account_id=account.pk, amount_micros=25_000_000)
    session = stripe.pay(made)
    stripe_events.handle(event_type="checkout.session.completed", body=session)
    card_refunds.refund(order_id=made.pk, amount_micros=5_000_000, actor="ada", reason="r")
    body = {"id": "dp_1", "payment_intent": stripe.payment_of(made), "status": "needs_response"}
    ledger.refund(account_id=account.pk, amount_micros=20_000_000, actor="ada", reason="r")
    stripe_events.handle(
        event_type="charge.dispute.created", body={**body, "amount": 1500, "currency": "usd"}
    )
    rows = [
        made,
        made.refunds.get(),
        made.told_refunds.get(),
        made.disputes.get(),
        made.movements.last(),
        account.debt_entries.get(),
    ]
    for name, row in zip(PAGES, rows, strict=True):
        listed = page(staff, f"/admin/billing/{name}/?q=demo")
        assert f"/admin/billing/{name}/{row.pk}/change/" in listed, name
        assert "delete_selected" not in listed
        address = f"/admin/billing/{name}/{row.pk}/change/"
        assert ".0000" in page(staff, address)
        assert staff.post(address, {}).status_code == 403
        assert staff.get(f"/admin/billing/{name}/add/").status_code == 403
    for search in (made.pk, made.session_id, stripe.payment_of(made)):
        assert str(made.pk) in page(staff, f"/admin/billing/topuporder/?q={search}")


def test_the_page_of_an_account_shows_its_debt_and_a_top_up_says_what_is_left_of_it(
    staff: Client, account: Account
) -> None:
    ledger.reverse(account_id=account.pk, amount_micros=25_000_000, actor="a", reason="r", request_id=uuid4())
    assert "15.0000" in page(staff, f"{ACCOUNTS}{account.pk}/change/")
    said = staff.post(f"{ACCOUNTS}{account.pk}/top-up/", movement("10", "bank"), follow=True).content.decode()
    assert "Top up: 10.0000 USD, balance 0.0000 USD, debt 5.0000 USD." in said
    said = staff.post(f"{ACCOUNTS}{account.pk}/top-up/", movement("10", "bank"), follow=True).content.decode()
    assert "Top up: 10.0000 USD, balance 5.0000 USD." in said
