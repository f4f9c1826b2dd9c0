"""The requests of the console's scripts: the API's own views by the session, and pictures by their generation's id."""

from functools import partial
from http import HTTPStatus

from csp.constants import NONE
from csp.decorators import csp
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.decorators import method_decorator
from rest_framework.request import Request
from rest_framework.response import Response

from billing.grants import Scope
from workers.imaging import thumbnails
from workers.models import Generation
from zekron_api.console.session_api import SessionView
from zekron_api.endpoints import image_download
from zekron_api.endpoints.cancel_generation import CancelView
from zekron_api.endpoints.generate import GenerateView
from zekron_api.endpoints.quote import QuoteView
from zekron_api.endpoints.views import BalanceView
from zekron_api.endpoints.watch_generation import EventsView, GenerationView, OwnGenerationView
from zekron_api.http import rate_limit
from zekron_api.waiting.deferred_response import DeferredResponse


class Generate(SessionView, GenerateView):
    """POST generate. A person's pictures count in the published limit, as those of programs do.

    A page whose first reply was lost asks again, and watches what was made meanwhile like all else.
    """

    rate_scope = rate_limit.Scope.REQUESTS
    is_always_object = True


class Quote(SessionView, QuoteView):
    """POST quote."""


class Balance(SessionView, BalanceView):
    """GET balance."""


class OneGeneration(SessionView, GenerationView):
    """GET and DELETE one generation."""


class Cancel(SessionView, CancelView):
    """POST the cancellation of a generation."""


class Events(SessionView, EventsView):
    """GET the events of a generation."""


class _Picture(SessionView, OwnGenerationView):
    """Base of the views of a generation's picture, which pages name by the generation's id."""

    scopes = {"GET": Scope.READ}


class Picture(_Picture):
    """GET the picture of a generation."""

    @method_decorator(csp({"default-src": [NONE], "sandbox": True}))
    def get(self, request: Request, generation_id: str) -> HttpResponse:
        """Return the file, or 404 without a picture and 410 after its expiry or its deletion."""
        return image_download.respond(request, generation=self.find_picture(generation_id))


class Thumbnail(_Picture):
    """GET a small copy of a generation's picture."""

    @method_decorator(csp({"default-src": [NONE], "sandbox": True}))
    def get(self, request: Request, generation_id: str) -> HttpResponse:
        """Return a WebP, of which few are made at once. The errors are those of the picture."""
        generation = self.find_picture(generation_id)
        return _respond_small(request, generation)

    def finalize_response(
        self, request: Request, response: Response, *args: object, **kwargs: object
    ) -> Response:
        """Let the browser keep the copy that it has. A new copy says so itself, and an error does not."""
        response = super().finalize_response(request, response, *args, **kwargs)
        if response.status_code == HTTPStatus.NOT_MODIFIED:
            del response["Cache-Control"]
        return response


def _respond_small(request: HttpRequest, generation: Generation) -> HttpResponse:
    assert generation.image is not None
    tag = image_download.entity_tag(generation.image, of="thumbnail")
    if known := get_conditional_response(request, etag=tag):
        return known
    build = partial(_make_small, generation, tag=tag)
    return DeferredResponse(account_id=generation.account_id, build=build, is_computed=True)


def _make_small(generation: Generation, *, tag: str) -> HttpResponse:
    assert generation.image is not None
    assert generation.expires_at is not None
    content = image_download.load(generation.image)
    # The picture never changes, so a browser asks once for as long as it lives.
    left_seconds = max(0, int((generation.expires_at - timezone.now()).total_seconds()))
    headers = {"ETag": tag, "Cache-Control": f"private, max-age={left_seconds}"}
    return HttpResponse(thumbnails.make(content), content_type=thumbnails.MIME_TYPE, headers=headers)
