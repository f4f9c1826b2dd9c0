"""The endpoints of OpenAI's API that make images. They accept what POST /v1/generate does, in other words."""

import time
from functools import partial
from typing import Any, NoReturn

from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from billing.grants import Scope
from zekron_api.endpoints import generation_events, generation_response, sizes, submission
from zekron_api.endpoints.generation_response import is_expired
from zekron_api.endpoints.views import ApiView
from zekron_api.http import errors
from zekron_api.http.errors import InvalidField
from zekron_api.http.json_body import ObjectParser, check_body
from zekron_api.http.multipart_form import Form, FormParser
from zekron_api.openai import form_fields, image_events, image_response
from zekron_api.openai.request_serializers import CreateImageSerializer, EditImageSerializer
from zekron_api.waiting.deferred_response import PendingGenerationResponse
from zekron_api.waiting.event_stream import Asker


class _ImagesView(ApiView):
    """Base of the endpoints whose replies have images. `route` tells the keys of idempotency of each apart."""

    scopes = {"POST": Scope.GENERATE}
    route: str

    def respond(self, request: Request, body: CreateImageSerializer | EditImageSerializer) -> HttpResponse:
        """Accept the request, and return a reply that the waiting room completes later."""
        body.is_valid(raise_exception=True)
        fields = body.validated_data
        if fields["stream"]:
            generation_events.refuse_without_place(request, account_id=self.account.pk)
        accepted = submission.accept(request, account=self.account, fields=fields, route=self.route)
        created, deadline = accepted.created, time.monotonic() + settings.SYNC_WAIT_SECONDS
        response: HttpResponse
        if fields["stream"] and not any(map(is_expired, created.generations)):
            response = self._stream(accepted, deadline)
            response["Location"] = f"/v1/generations/{created.generation.pk}"
        else:
            response = PendingGenerationResponse(
                account_id=self.account.pk,
                generation_ids=[each.pk for each in created.generations],
                deadline=deadline if created.is_open else 0,
                build=partial(
                    image_response.build,
                    generation_id=created.generation.pk,
                    content_kinds=body.content_kinds,
                ),
                on_lost=accepted.on_lost,
            )
        accepted.mark(response)
        return response

    def _stream(self, accepted: submission.Accepted, deadline: float) -> HttpResponse:
        created = accepted.created
        try:
            return image_events.respond(
                created.generations, asker=Asker(stays_until=deadline, on_lost=accepted.on_lost)
            )
        except errors.DATABASE_UNAVAILABLE as cause:
            raise generation_response.state_unavailable(generation_id=created.generation.pk) from cause


class CreateImageView(_ImagesView):
    """The endpoint POST /v1/images/generations."""

    route = "images/generations"

    def post(self, request: Request) -> HttpResponse:
        """Make images from a prompt."""
        check_body(request)
        return self.respond(request, CreateImageSerializer(data=request.data))


class EditImageView(_ImagesView):
    """The endpoint POST /v1/images/edits. Its body is JSON or a form."""

    parser_classes = [ObjectParser, FormParser]
    route = "images/edits"

    def post(self, request: Request) -> HttpResponse:
        """Edit images."""
        check_body(request, takes_form=True)
        data: Any = request.data
        fields = form_fields.read(data) if isinstance(data, Form) else data
        # OpenAI's default.
        size = sizes.AUTO if fields.get("size") is None else fields["size"]
        return self.respond(request, EditImageSerializer(data={**fields, "size": size}))


class VariationView(ApiView):
    """The endpoint POST /v1/images/variations, which OpenAI's clients still have."""

    def post(self, request: Request) -> NoReturn:
        """Raise InvalidField."""
        refuse_variation()


def refuse_variation() -> NoReturn:
    """Raise InvalidField with a message that names another way."""
    message = "Variations are not supported. Send the image with a prompt to POST /v1/images/edits."
    raise InvalidField("unsupported_endpoint", message)
