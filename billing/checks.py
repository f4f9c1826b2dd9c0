"""The checks of the settings by `manage.py check`."""

from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register
def check_stripe(**_: Any) -> list[CheckMessage]:
    """Find half a configuration of Stripe, or one without its library."""
    names = ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET")
    missing = [name for name in names if not getattr(settings, name)]
    if len(missing) == 1:
        return [Error(f"Card payments need {missing[0]} too. Set both, or neither.", id="billing.E001")]
    if not missing and find_spec("stripe") is None:
        return [Error("Card payments need requirements/stripe.txt.", id="billing.E002")]
    if settings.TOP_UP_MIN_USD > settings.TOP_UP_MAX_USD:
        return [Error("TOP_UP_MIN_USD must not be over TOP_UP_MAX_USD.", id="billing.E003")]
    return []
