"""The showcase: visitors of the start page watch a picture being made, at the cost of an account of the operator.

It is off without SHOWCASE_ACCOUNT. Visitors choose among a few prompts, so nobody makes a picture of their own without
an account. They see the showcase's pictures alone, and nothing else of that account.
"""

from typing import Any, Final

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from limits import RateLimitItemPerHour
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import ErrorDetail, NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from billing import accounts
from billing.grants import Grants, Scope
from billing.models import Account
from workers.models import Generation
from zekron_api.endpoints import generation_events, image_download, submission
from zekron_api.endpoints.fields import NumberField
from zekron_api.endpoints.serializers import GenerateSerializer
from zekron_api.endpoints.views import ApiView
from zekron_api.endpoints.watch_generation import OwnGenerationView
from zekron_api.http import login_limit, rate_limit
from zekron_api.http.authentication import Caller
from zekron_api.http.json_body import read_body

PROMPTS: Final = (
    "A red house by the sea at sunset",
    "Mountains in the snow at dawn",
    "A yellow boat on a lake under the moon",
    "A green tree on a hill in the rain",
)
_SIZE: Final = "512x512"
# Nobody watches a picture that starts later.
_QUEUE_SECONDS: Final = 60
_MAX_PARTIALS: Final = 3
# It tells the showcase's pictures from others of the account.
_MARK: Final = "showcase"


class ShowcaseExceeded(rate_limit.RateExceeded):
    """The visitors of an address, or all of them, made as many pictures within the hour as they may."""

    def __init__(self, rate: rate_limit.Rate) -> None:
        super().__init__(rate)
        minutes = -(-self.wait_seconds // 60)
        self.detail = ErrorDetail(f"No more pictures are made here now. Try again in {minutes} minutes.")


class ShowcaseAuthentication(BaseAuthentication):
    """Anyone is a caller for the account of the showcase. Without one there is nothing here."""

    def authenticate(self, request: Request) -> tuple[Account, Caller]:
        """Return the account and its caller. Raises NotFound."""
        if not settings.SHOWCASE_ACCOUNT:
            raise NotFound
        try:
            account = accounts.find(text=settings.SHOWCASE_ACCOUNT)
        except (Account.DoesNotExist, ValueError):
            raise NotFound from None
        return account, Caller(account, Grants(scopes=(Scope.GENERATE, Scope.READ)))


class ChoiceSerializer(Serializer[Any]):
    """The body of a visitor's request: the number of one of the prompts."""

    prompt = NumberField(
        least=0, most=len(PROMPTS) - 1, help_text="The place of the prompt in the page's list, from 0."
    )


class ShowcaseView(ApiView):
    """Base of the views of the showcase. They count in the console's limit of that account."""

    # The reference is of the API alone.
    schema = None
    authentication_classes = [ShowcaseAuthentication]
    rate_scope = rate_limit.Scope.CONSOLE


class MakeView(ShowcaseView):
    """The endpoint POST /showcase/pictures."""

    def post(self, request: Request) -> Response:
        """Make a picture, and reply with the id by which it is watched. Raises ShowcaseExceeded."""
        choice = read_body(request, ChoiceSerializer)
        _count(login_limit.address_of(request._request))
        accepted = submission.accept(
            request,
            account=self.account,
            fields=_fields(PROMPTS[choice["prompt"] or 0]),
            queue_seconds=_QUEUE_SECONDS,
            is_waited_for=False,
            # A visitor could take a key that a program of the account sends later.
            takes_key=False,
        )
        return Response({"success": True, "data": {"id": str(accepted.created.generation.pk)}}, status=202)


class _OwnPictureView(ShowcaseView, OwnGenerationView):
    """Base of the views of one picture of the showcase."""

    def find(self, generation_id: str) -> Generation:
        """Return the generation if it is one of the showcase's. Raises NotFound for any other of the account."""
        generation = super().find(generation_id)
        if _MARK not in generation.parameters.get("metadata", {}):
            raise NotFound
        return generation


class WatchView(_OwnPictureView):
    """The endpoint GET /showcase/pictures/{id}/events."""

    def get(self, request: Request, generation_id: str) -> HttpResponseBase:
        """Return the stream of the picture's events, without its bytes."""
        return generation_events.respond(request, self.find(generation_id), with_content=False)


class PictureView(_OwnPictureView):
    """The endpoint GET /showcase/pictures/{id}/image."""

    def get(self, request: Request, generation_id: str) -> HttpResponse:
        """Return the picture's bytes. Raises NotFound before it is made, and ImageExpired."""
        return image_download.respond(request, generation=self.find_picture(generation_id))


def _fields(prompt: str) -> dict[str, Any]:
    body = {
        "prompt": prompt,
        "size": _SIZE,
        "async": True,
        "partial_images": _MAX_PARTIALS,
        "metadata": {_MARK: "1"},
    }
    request = GenerateSerializer(data=body)
    request.is_valid(raise_exception=True)
    fields: dict[str, Any] = request.validated_data
    return fields


def _count(address: str | None) -> None:
    """Count a picture for the visitor's address and for all. Raises ShowcaseExceeded."""
    for limit, name in (
        (settings.SHOWCASE_PICTURES_PER_HOUR_OF_ADDRESS, f"address:{address}"),
        (settings.SHOWCASE_PICTURES_PER_HOUR, "all"),
    ):
        rate, is_admitted = rate_limit.count(RateLimitItemPerHour(limit, namespace="SHOWCASE"), name)
        if not is_admitted:
            raise ShowcaseExceeded(rate)
