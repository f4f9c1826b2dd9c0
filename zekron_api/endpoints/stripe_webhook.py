"""The path POST /stripe/webhook, to which Stripe sends its events. Their signature is what authenticates them."""

import logging
from typing import Final

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing import stripe_api, stripe_events
from zekron_api.http import errors

log = logging.getLogger(__name__)

# An event has some kilobytes.
MAX_BYTES: Final = 512 * 1024


@csrf_exempt
def receive(request: HttpRequest) -> HttpResponse:
    """Apply an event. Any error has Stripe send the event again, for three days. It is 404 without Stripe."""
    if not stripe_api.is_on():
        raise Http404
    return _receive(request)


@require_POST
def _receive(request: HttpRequest) -> HttpResponse:
    if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BYTES:
        return errors.reply_to(errors.PayloadTooLarge())
    try:
        event_type, body = stripe_api.read_event(
            content=request.body, signature=request.headers.get("Stripe-Signature", "")
        )
    except stripe_api.InvalidSignature as error:
        log.warning("An event was refused: %s", error)
        return errors.reply_with_status(400)
    try:
        stripe_events.handle(event_type=event_type, body=body)
    except Exception as error:  # noqa: BLE001 (any status but 200 makes Stripe send the event again)
        log.error("The event %s failed: %s", event_type, type(error).__name__)
        return errors.reply_to(error)
    return JsonResponse({"received": True})
