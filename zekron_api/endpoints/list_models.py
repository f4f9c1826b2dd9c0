"""The endpoints GET /v1/models and GET /v1/models/{id}, in the form that OpenAI's clients read.

The replies have no `success`, because these clients parse them. What they do not know is in `zekron`.
"""

from functools import cache
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BooleanField, CharField, IntegerField, ListField, Serializer

from billing.grants import DEFAULT_GRANTS, Grants
from workers.catalogue import ANY_NAME, DEFAULT_MODEL, ImageModel, aliases, catalogue
from workers.imaging.encoders import MIME_TYPES
from workers.models import Kind
from zekron_api.endpoints import sizes
from zekron_api.endpoints.fields import MAX_PROMPT_CHARACTERS
from zekron_api.endpoints.reply_fields import choice, constant, usd_field
from zekron_api.endpoints.views import ApiView
from zekron_api.http import errors

OWNER: Final = "zekron"


class PriceRuleSerializer(Serializer[Any]):
    """The rule of the price. The sum is rounded half up to four places, and kept between `least` and `most`."""

    currency = constant("USD")
    base = usd_field("The part of every image.", source="base_micros")
    per_megapixel = usd_field("The part for each 1,048,576 pixels of the image.", source="megapixel_micros")
    per_source_image = usd_field("The part for each source image.", source="source_image_micros")
    least = usd_field("The lowest price.", source="least_micros")
    most = usd_field("The highest price.", source="most_micros")


class PriceSerializer(Serializer[Any]):
    """The price of an image."""

    size = choice(sizes.SIZES)
    source_images = IntegerField(min_value=0)
    cost = usd_field("The price in USD.", source="micros")


class SizeRuleSerializer(Serializer[Any]):
    """The bounds of a size, in pixels."""

    step = constant(sizes.STEP)
    min_side = constant(sizes.MIN_SIDE)
    max_side = constant(sizes.MAX_SIDE)
    max_ratio = constant(sizes.MAX_RATIO)
    max_pixels = constant(sizes.MAX_PIXELS)


class ModelDetailsSerializer(Serializer[Any]):
    """The abilities and the prices of a model."""

    default = BooleanField(help_text="Whether a request that names no model uses this one.")
    types = ListField(child=choice(Kind.values), help_text="`edit` if the model takes source images.")
    sizes = ListField(child=choice(sizes.SIZES), help_text="The usual sizes that it makes.")
    size_rule = SizeRuleSerializer(help_text="The bounds of all sizes that it makes.")
    max_n = IntegerField(min_value=1, help_text="The most images that a request may ask for.")
    negative_prompt = BooleanField(
        source="takes_negative_prompt", help_text="Whether it takes a `negative_prompt`."
    )
    max_source_images = IntegerField(min_value=0, help_text="The most images that an edit may have.")
    masks = BooleanField(source="takes_masks", help_text="Whether an edit may have a `mask`.")
    partial_images = BooleanField(
        source="takes_partial_images", help_text="Whether it makes `partial_images`."
    )
    max_prompt_characters = IntegerField(min_value=1, help_text="The longest prompt.")
    max_prompt_tokens = IntegerField(
        min_value=1,
        allow_null=True,
        help_text="The most tokens of a prompt that the model reads. Null if the operator has not told it.",
    )
    formats = ListField(child=choice(MIME_TYPES), help_text="The media types of its images.")
    price = PriceRuleSerializer()
    prices = PriceSerializer(many=True, help_text="The price of each usual size and number of source images.")


class ModelSerializer(Serializer[Any]):
    """A model that a request can name."""

    id = CharField(help_text="The value of `model` in a request.")
    object = constant("model")
    created = IntegerField(
        min_value=0, help_text="When the operator last changed the models, in Unix seconds."
    )
    owned_by = constant(OWNER)
    alias_of = CharField(required=False, help_text="The model for which this name of the operator's stands.")
    zekron = ModelDetailsSerializer()


# DRF removes the fields from the class, so a field named `data` hides no attribute of the serializer.
class ModelListSerializer(Serializer[Any]):
    """All models in the order of the operator's file, and then their other names."""

    object = constant("list")
    data = ModelSerializer(many=True, source="models")  # type: ignore[assignment]


class ModelListView(ApiView):
    """The endpoint GET /v1/models."""

    def get(self, request: Request) -> Response:
        """Return every model that the key may use."""
        return Response(_list_for(self.caller.grants))


class ModelView(ApiView):
    """The endpoint GET /v1/models/{model_id}."""

    def get(self, request: Request, model_id: str) -> Response:
        """Return one model. The reply is 404 for an unknown name."""
        return Response(find(model_id, grants=self.caller.grants))


def find(model_id: str, *, grants: Grants = DEFAULT_GRANTS) -> dict[str, Any]:
    """Return the description of the model of this name or alias, if the key may use it. Raise UnknownModel."""
    models = {model["id"]: model for model in _list_for(grants)["data"]}
    if model_id not in models:
        raise errors.UnknownModel(f"Unknown model. Allowed: {', '.join(models)}.")
    described: dict[str, Any] = models[model_id]
    return described


def _list_for(grants: Grants) -> dict[str, Any]:
    """Return the list with the models that the key may use."""
    whole = _list(Path(settings.MODELS_FILE))
    usable = [model for model in whole["data"] if grants.admits_model(model.get("alias_of", model["id"]))]
    return {**whole, "data": usable}


@cache
def _list(file: Path) -> dict[str, Any]:
    """Return the list's reply, made once, because the catalogue is read once per process and file."""
    created = int(file.stat().st_mtime)
    models = [_describe(model, created) for model in catalogue().values()]
    models += [
        {**_describe(catalogue()[name], created), "id": alias, "alias_of": name}
        for alias, name in aliases().items()
        if alias != ANY_NAME
    ]
    reply: dict[str, Any] = ModelListSerializer().to_representation({"models": models})
    return reply


def _describe(model: ImageModel, created: int) -> dict[str, Any]:
    return {
        "id": model.name,
        "created": created,
        "zekron": {
            "default": model.name == DEFAULT_MODEL,
            "types": [Kind.CREATE, Kind.EDIT] if model.sources else [Kind.CREATE],
            "sizes": list(sizes.SIZES),
            "size_rule": {},
            "max_n": model.max_n,
            "takes_negative_prompt": model.takes_negative_prompt,
            "max_source_images": model.sources,
            "takes_masks": model.takes_masks,
            "takes_partial_images": model.takes_partial_images,
            "max_prompt_characters": MAX_PROMPT_CHARACTERS,
            "max_prompt_tokens": model.max_prompt_tokens,
            "formats": list(MIME_TYPES),
            "price": model.price,
            "prices": _prices(model),
        },
    }


def _prices(model: ImageModel) -> list[dict[str, Any]]:
    return [
        {
            "size": name,
            "source_images": count,
            "micros": model.price.quote_micros(width=width, height=height, source_count=count),
        }
        for name, (width, height) in sizes.SIZES.items()
        for count in range(model.sources + 1)
    ]
