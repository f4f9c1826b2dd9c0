"""The page Billing: balance, credit, top-ups, alerts, statements and the ledger. Owners act, and others look."""

import logging
from typing import Any, Final

from csp.decorators import csp_update
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from billing import alerts, card_top_ups, stripe_api
from billing.codes import InvalidCode
from billing.grants import Scope
from billing.models import Account
from billing.money import format_usd
from workers.usage import monthly_statement
from zekron_api.console import ledger_words, pages
from zekron_api.console.access import Access, member_page
from zekron_api.console.billing_forms import AlertsForm, CodeForm, TopUpForm
from zekron_api.endpoints import redeem_code
from zekron_api.http.errors import PAYMENTS_UNAVAILABLE
from zekron_api.http.redemption_limit import FailuresExceeded

log = logging.getLogger(__name__)

# The newest statements and top-ups that the page shows at once. The others open with a click.
_SHOWN_AT_ONCE: Final = 6
# A browser follows the reply to a form only to an address that the policy of the form's page names.
_to_stripe = csp_update({"form-action": ["https://checkout.stripe.com"]})


@_to_stripe
@member_page(Scope.USAGE)
def serve(request: HttpRequest, access: Access) -> HttpResponseBase:
    """Show the account's money."""
    return _show(request, access)


@_to_stripe
@member_page(Scope.BILLING)
def redeem(request: HttpRequest, access: Access) -> HttpResponseBase:
    """Credit a redemption code. The limits of failed redemptions are those of the API."""
    if request.method != "POST":
        return _back(access)
    form = CodeForm(request.POST)
    if form.is_valid():
        try:
            redeemed = redeem_code.redeem(request, account=access.account, text=form.cleaned_data["code"])
        except InvalidCode:
            form.add_error("code", "This code is unknown or no longer valid. Check each character.")
        except FailuresExceeded as error:
            form.add_error("code", _wait_text(error.wait_seconds))
        else:
            log.info("%s redeemed %s for account %s.", access.actor, redeemed.code, access.account.pk)
            amount = format_usd(redeemed.code.amount_micros)
            text = f"This account has redeemed the code before. Nothing was added to its {amount} USD."
            messages.success(request, text if redeemed.is_replay else f"{amount} USD were added.")
            return _back(access)
    return _show(request, access, code_form=form)


@_to_stripe
@member_page(Scope.BILLING)
def top_up(request: HttpRequest, access: Access) -> HttpResponseBase:
    """Order balance by card, and send the person to the page of the payment."""
    if request.method != "POST" or not stripe_api.is_on():
        return _back(access)
    form = TopUpForm(request.POST)
    if form.is_valid():
        try:
            order = card_top_ups.order(
                account_id=access.account.pk,
                amount_micros=form.cleaned_data["amount"],
                return_url=f"{settings.PUBLIC_URL}{_address(access)}?returned=1",
            )
        except card_top_ups.AmountOutOfBounds:
            form.add_error("amount", f"Enter an amount within the bounds. {form.fields['amount'].help_text}")
        except card_top_ups.TooManyPending:
            form.add_error(None, _too_many_text())
        except (stripe_api.StripeUnavailable, stripe_api.StripeRefused):
            form.add_error(None, PAYMENTS_UNAVAILABLE)
        else:
            log.info("%s ordered %s for account %s.", access.actor, order, access.account.pk)
            return redirect(order.url)
    return _show(request, access, top_up_form=form)


@_to_stripe
@member_page(Scope.BILLING)
def put_alerts(request: HttpRequest, access: Access) -> HttpResponseBase:
    """Replace the alerts that the account wants."""
    form = AlertsForm(request.POST, own=alerts.settings_of(account_id=access.account.pk))
    if request.method != "POST":
        return _back(access)
    if not form.is_valid():
        return _show(request, access, alerts_form=form)
    alerts.put(
        account_id=access.account.pk,
        low_balance_micros=form.cleaned_data["low_balance"],
        percents=form.cleaned_data["percents"],
        email=form.cleaned_data["email"],
    )
    log.info("%s set the alerts of account %s.", access.actor, access.account.pk)
    messages.success(request, "The alerts are saved.")
    return _back(access)


def _show(request: HttpRequest, access: Access, **forms: Any) -> HttpResponse:
    """Return the page. `forms` are those that were sent and have errors."""
    account_id = access.account.pk
    months = monthly_statement.list_months(account=access.account)
    context = {
        "may_act": access.is_owner and access.account.status == Account.Status.ACTIVE,
        "takes_cards": stripe_api.is_on(),
        "current_alerts": list(alerts.list_current(access.account)),
        "months": months[:_SHOWN_AT_ONCE],
        "older_months": months[_SHOWN_AT_ONCE:],
        **ledger_words.read_page(request.GET, account_id=account_id),
    }
    if access.is_owner:
        orders = list(card_top_ups.list_newest(account_id=account_id))
        own = alerts.settings_of(account_id=account_id)
        context |= {
            "code_form": CodeForm(),
            "top_up_form": TopUpForm(),
            "alerts_form": AlertsForm(own=own),
            "orders": orders[:_SHOWN_AT_ONCE],
            "older_orders": orders[_SHOWN_AT_ONCE:],
            "has_returned": "returned" in request.GET and bool(orders),
        }
    return pages.render(request, access, "billing.html", {**context, **forms})


def _back(access: Access) -> HttpResponse:
    # A browser keeps the place of the form in the address, and the message is at the top.
    return redirect(f"{_address(access)}#main")


def _address(access: Access) -> str:
    return reverse("console:billing", kwargs={"account_id": access.account.pk})


def _wait_text(wait_seconds: int) -> str:
    minutes = max(1, -(-wait_seconds // 60))
    return f"Too many codes were refused within the last hour. Try again in {minutes} minutes."


def _too_many_text() -> str:
    return (
        f"{card_top_ups.MAX_PENDING} top-ups wait for their payment, and no more are allowed. Pay one of them below, "
        "or wait until its page has ended, a day after it was made."
    )
