"""The Celery tasks of this package. Each task is one call into it."""

from celery import shared_task

from billing import card_refunds, late_orders, stripe_api


@shared_task(throws=(stripe_api.StripeUnavailable, stripe_api.StripeRefused))
def check_card_payments() -> None:
    """Ask Stripe for orders whose event may be lost, and again for refunds without an answer.

    May run twice or at once: an order is credited once, and a refund is made once. Does nothing without Stripe.
    """
    if stripe_api.is_on():
        card_refunds.send_pending()
        late_orders.check()
