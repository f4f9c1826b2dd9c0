"""The endpoint POST /v1/generations/{id}/cancel."""

from django.http import HttpResponse
from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from billing.grants import Scope
from workers.lifecycle import cancellation
from zekron_api.endpoints import generation_object
from zekron_api.endpoints.watch_generation import OwnGenerationView
from zekron_api.http import errors


class CancelView(OwnGenerationView):
    """The endpoint POST /v1/generations/{id}/cancel."""

    scopes = {"POST": Scope.GENERATE}

    def post(self, request: Request, generation_id: str) -> HttpResponse:
        """Cancel the generation: 200 once it is cancelled, and 202 while its worker is told to drop it."""
        generation = self.find(generation_id)
        # The reply shows the generation. A key that reads none has seen those that it asked for itself.
        if Scope.READ not in self.caller.grants.scopes and generation.api_key_id != self.caller.key_id:
            raise NotFound
        try:
            generation = cancellation.request(generation=generation, detail="its owner cancelled it")
        except cancellation.AlreadyEnded:
            return generation_object.refuse_with(errors.AlreadyEnded(), generation_id=generation.pk)
        reply = generation_object.reply_with(generation_object.describe(generation))
        reply.status_code = 202 if generation.is_open else 200
        return reply
