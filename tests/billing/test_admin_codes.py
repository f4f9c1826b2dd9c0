"""Redemption codes on the admin's pages: made, shown once, revoked."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from billing import codes
from billing.income_models import RedemptionCode
from billing.models import Account
from tests.billing.admin_client import act, browser_with, page

pytestmark = pytest.mark.django_db
CODES = "/admin/billing/redemptioncode/"
TEXT = re.compile(f"(?:[{codes.ALPHABET}]{{5}}-){{5}}[{codes.ALPHABET}]{{5}}")


def form(**changes: str) -> dict[str, str]:
    """Return the fields of one filled-in form for two codes."""
    ahead = timezone.now() + timedelta(days=30)
    expiry = {"expires_at_0": ahead.date().isoformat(), "expires_at_1": "12:00:00"}
    return {"amount_micros": "25.00", "count": "2", "reason": "sold at the fair", **expiry, **changes}


def test_new_codes_are_shown_exactly_once(staff: Client, account: Account) -> None:
    reply = staff.post(f"{CODES}add/", form())
    texts = TEXT.findall(reply.content.decode())
    assert (len(texts), RedemptionCode.objects.count()) == (2, 2)
    assert "no-store" in reply.headers["Cache-Control"]
    code = RedemptionCode.objects.earliest("pk")
    assert (code.amount_micros, code.created_by, code.reason) == (25_000_000, "ada", "sold at the fair")
    assert LogEntry.objects.get().change_message == f"2 codes, ids {code.pk} to {code.pk + 1}."
    for address in (CODES, f"{CODES}{code.pk}/change/", f"{CODES}{code.pk}/history/", "/admin/"):
        shown = page(staff, address)
        assert not TEXT.search(shown)
        assert code.digest not in shown
    assert not any(text in str(dict(staff.session)) + str(LogEntry.objects.values()) for text in texts)
    for text in texts:
        codes.redeem(account_id=account.pk, text=text)
    account.refresh_from_db()
    assert account.balance_micros == 60_000_000


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_micros": "0"},
        {"amount_micros": "-1"},
        {"count": "0"},
        {"count": str(codes.MAX_COUNT + 1)},
        {"expires_at_0": "2020-01-01"},
        {"expires_at_0": "9999-01-01"},
        {"expires_at_0": "", "expires_at_1": ""},
        {"reason": " "},
    ],
)
def test_codes_that_make_no_sense_are_not_made(staff: Client, changes: dict[str, str]) -> None:
    reply = staff.post(f"{CODES}add/", form(**changes))
    assert reply.status_code == 200
    assert "errorlist" in reply.content.decode()
    assert not RedemptionCode.objects.exists()


def test_codes_are_revoked_and_never_edited_or_deleted(staff: Client, account: Account) -> None:
    staff.post(f"{CODES}add/", form(count="1"))
    code = RedemptionCode.objects.get()
    assert f"The {code} is revoked." in act(staff, CODES, "revoke", code.pk)
    assert "already revoked" in act(staff, CODES, "revoke", code.pk)
    assert staff.post(f"{CODES}{code.pk}/change/", form()).status_code == 403
    assert staff.post(f"{CODES}{code.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in page(staff, CODES)


def test_codes_are_listed_with_their_state_and_found(staff: Client, account: Account) -> None:
    made = TEXT.findall(staff.post(f"{CODES}add/", form(count="4")).content.decode())
    live, taken, revoked, expired = RedemptionCode.objects.order_by("pk")
    codes.redeem(account_id=account.pk, text=made[1])
    codes.revoke(code_id=revoked.pk)
    RedemptionCode.objects.filter(pk=expired.pk).update(expires_at=timezone.now())
    listed = page(staff, CODES)
    assert all(f">{state}<" in listed for state in ("live", "redeemed", "revoked", "expired"))
    assert str(taken) in page(staff, f"{CODES}?q=demo")
    assert str(live) in page(staff, f"{CODES}?q={live.last_four}")


def test_codes_are_made_only_by_staff_who_may_move_money() -> None:
    for permissions in (["add_redemptioncode"], ["change_account"]):
        assert browser_with(*permissions).post(f"{CODES}add/", form()).status_code == 403
        _forget_bob()
    assert not RedemptionCode.objects.exists()
    assert (
        browser_with("add_redemptioncode", "change_account").post(f"{CODES}add/", form()).status_code == 200
    )
    assert RedemptionCode.objects.count() == 2


def test_codes_are_revoked_only_by_staff_who_may_change_them() -> None:
    codes.create(
        amount_micros=100, count=1, expires_at=timezone.now() + timedelta(days=1), actor="a", reason="r"
    )
    code = RedemptionCode.objects.get()
    act(browser_with("view_redemptioncode"), CODES, "revoke", code.pk)
    code.refresh_from_db()
    assert code.revoked_at is None
    _forget_bob()
    act(browser_with("view_redemptioncode", "change_redemptioncode"), CODES, "revoke", code.pk)
    code.refresh_from_db()
    assert code.revoked_at is not None


def _forget_bob() -> None:
    User.objects.filter(username="bob").delete()
