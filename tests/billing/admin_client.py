"""Browsers for the tests of the admin."""

from uuid import uuid4

from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.browsers import sign_in

ACCOUNTS = "/admin/billing/account/"
KEYS = "/admin/billing/apikey/"
RESERVATIONS = "/admin/billing/reservation/"
ENTRIES = "/admin/billing/ledgerentry/"


def browser_with(*permissions: str) -> Client:
    """Log a staff member with these permissions alone in, and return the browser."""
    user = User.objects.create_user("bob", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return sign_in(Client(), user)


def movement(dollars: str, reason: str) -> dict[str, str]:
    """Return the fields of one filled-in form for moving money."""
    return {"amount_micros": dollars, "reason": reason, "request_id": str(uuid4())}


def page(browser: Client, address: str, status: int = 200) -> str:
    reply = browser.get(address)
    assert reply.status_code == status, address
    return reply.content.decode()


def act(browser: Client, address: str, action: str, *pks: int) -> str:
    data = {"action": action, "_selected_action": [str(pk) for pk in pks]}
    return browser.post(address, data, follow=True).content.decode()
