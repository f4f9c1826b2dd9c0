"""The JSON schemas of the tools: what each takes and returns. Limits and names are those of the API."""

from typing import Any, Final

from workers.catalogue import DEFAULT_MODEL, ImageModel, catalogue
from workers.imaging.encoders import OutputFormat
from workers.models import Kind, Status
from zekron_api.endpoints import mask_field, sizes
from zekron_api.endpoints.fields import MAX_PROMPT_CHARACTERS, MAX_SOURCE_BYTES, MAX_SOURCES
from zekron_api.endpoints.parameter_fields import MAX_SEED

Schema = dict[str, Any]

# The official clients give up after 60 seconds. The service's own reply comes before.
MAX_WAIT_SECONDS: Final = 50
DEFAULT_FORMAT: Final = OutputFormat.WEBP
_USD: Final = "in USD, with four decimals"
_MEBIBYTE: Final = 1024 * 1024


def create_arguments() -> Schema:
    """Return the schema of the arguments that make an image."""
    return _arguments({**_common(list(catalogue())), **_delivery()}, required=["prompt"])


def edit_arguments() -> Schema:
    """Return the schema of the arguments that edit images."""
    models = editing_models()
    most = max((model.sources for model in models), default=0)
    properties = {
        **_common([model.name for model in models]),
        "images": {
            "type": "array",
            "minItems": 1,
            "maxItems": min(most, MAX_SOURCES),
            "items": _source(),
            "description": "The images to edit. Refer to an image that was made here by its generation_id, instead of "
            "sending its bytes.",
        },
        "mask": {
            "type": "object",
            "properties": {"data": {"type": "string", "description": "The PNG as base64."}},
            "required": ["data"],
            "description": mask_field.HELP,
        },
        **_delivery(),
    }
    if not any(model.takes_masks for model in models):
        del properties["mask"]
    return _arguments(properties, required=["prompt", "images"])


def quote_arguments() -> Schema:
    """Return the schema of the arguments that decide a price."""
    count = {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_SOURCES,
        "default": 0,
        "description": "The number of images to edit. 0 is a new image.",
    }
    return _arguments(
        {"model": _model(list(catalogue())), "size": _size(), "source_images": count}, required=[]
    )


def read_arguments() -> Schema:
    """Return the schema of the arguments that choose a generation."""
    properties = {
        "id": {
            "type": "integer",
            "minimum": 1,
            "description": "The id of the generation. Without it, the newest one of the account is read.",
        },
        "wait_seconds": {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_WAIT_SECONDS,
            "default": 0,
            "description": "The most seconds to wait for the end of an open generation.",
        },
    }
    return _arguments(properties, required=[])


def no_arguments() -> Schema:
    """Return the schema of a tool that takes no arguments."""
    return _arguments({}, required=[])


def image_result() -> Schema:
    """Return the schema of the fields that tell of an image."""
    return _result(
        {
            **_generation(),
            "remaining_balance": _text(f"The balance after the charge, {_USD}."),
            "replayed": {
                "type": "boolean",
                "description": "Whether the idempotency_key had been used. Nothing was charged again.",
            },
        },
        required=["id", "cost", "seed", "url"],
    )


def generation_result() -> Schema:
    """Return the schema of the fields that tell of a generation, open or ended."""
    return _result(
        {
            **_generation(),
            "prompt": _text("The prompt. It is empty once the service has erased it."),
            "queue": {
                "type": ["object", "null"],
                "description": "The place in the queue, while it is queued.",
            },
            "progress": {"type": ["object", "null"], "description": "The steps, while it is running."},
            "created_at": _text("When the request was accepted."),
            "ended_at": {"type": ["string", "null"]},
        },
        required=["id", "status"],
    )


def quote_result() -> Schema:
    """Return the schema of the fields that tell a price."""
    return _result(
        {
            "cost": _text(f"The price of one image, {_USD}."),
            "currency": {"type": "string"},
            "resolved_size": _text("The size that would be made."),
            "available": _text("The amount that the account can spend now."),
            "affordable": {"type": "boolean"},
            "estimated_wait_seconds": {"type": ["integer", "null"]},
            "breakdown": {"type": "array", "items": {"type": "object"}},
        },
        required=["cost", "affordable"],
    )


def balance_result() -> Schema:
    """Return the schema of the fields that tell the balance."""
    return _result(
        {
            "balance": _text(f"The balance, {_USD}."),
            "available": _text("The part of it that is not reserved for open generations."),
            "reserved": {"type": "string"},
            "debt": _text("The part of reversed payments that is still owed, if there is one."),
            "total_spent": {"type": "string"},
            "total_generations": {"type": "integer"},
            "currency": {"type": "string"},
        },
        required=["balance", "available"],
    )


def _arguments(properties: Schema, *, required: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _result(properties: Schema, *, required: list[str]) -> Schema:
    """Return the schema of a result: these fields, or an error. Some clients check results that are errors too."""
    return {
        "type": "object",
        "properties": {**properties, "error": _error()},
        "anyOf": [{"required": required}, {"required": ["error"]}],
    }


def _error() -> Schema:
    return {
        "type": ["object", "null"],
        "properties": {
            "message": _text("A sentence for people."),
            "type": _text("The kind of error, for programs."),
            "code": _text("The name of this one failure, for support."),
            "status": {"type": "integer"},
            "retry_after_seconds": {"type": "integer"},
            "generation_id": _text(
                "The generation that was accepted. Read it with get_generation.", "integer"
            ),
        },
    }


def _common(models: list[str]) -> Schema:
    return {
        "prompt": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_PROMPT_CHARACTERS,
            "description": "The image to make, or the change to make to the images.",
        },
        "model": _model(models),
        "size": _size(),
        "seed": {
            "type": "integer",
            "minimum": 0,
            "maximum": MAX_SEED,
            "description": "The seed of the noise. The same arguments and seed make the same image. Without it, it is "
            "random.",
        },
        **_negative_prompt(models),
    }


def _delivery() -> Schema:
    return {
        "output_format": {
            "type": "string",
            "enum": [each.value for each in OutputFormat],
            "default": DEFAULT_FORMAT.value,
            "description": "The format of the file at url. The image in the result may be a smaller WebP of it.",
        },
        "idempotency_key": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "description": "A text of your choice, such as a UUID. A second call with the same arguments and key "
            "returns the same image and costs nothing, so a call can be repeated safely after a timeout.",
        },
    }


def _model(names: list[str]) -> Schema:
    schema: Schema = {"type": "string", "enum": names, "description": "The model that makes the image."}
    return {**schema, "default": DEFAULT_MODEL} if DEFAULT_MODEL in names else schema


def _size() -> Schema:
    usual = ", ".join(sizes.SIZES)
    return {
        "type": "string",
        "default": sizes.DEFAULT_SIZE,
        "description": f"Width and height in pixels. Usual sizes: {usual}. Others: {sizes.RULES}. `{sizes.AUTO}` gives "
        "an edit the shape of its first image.",
    }


def _negative_prompt(names: list[str]) -> Schema:
    takers = [name for name in names if catalogue()[name].takes_negative_prompt]
    if not takers:
        return {}
    description = f"What the image should not show. Only for the models: {', '.join(takers)}."
    return {
        "negative_prompt": {
            "type": "string",
            "maxLength": MAX_PROMPT_CHARACTERS,
            "description": description,
        }
    }


def _source() -> Schema:
    most = MAX_SOURCE_BYTES // _MEBIBYTE
    return {
        "type": "object",
        "properties": {
            "generation_id": _text("The id of a generation of this account.", "integer"),
            "data": _text(f"The image's file as base64, at most {most} MiB, instead of generation_id."),
            "mime_type": _text("The media type of data, such as image/png."),
        },
        "additionalProperties": False,
    }


def _generation() -> Schema:
    return {
        "id": _text("The id of the generation, for get_generation and edit_image.", "integer"),
        "type": {"type": "string", "enum": list(Kind.values)},
        "status": {"type": "string", "enum": list(Status.values)},
        "model": {"type": "string"},
        "size": {"type": "string"},
        "seed": {"type": ["integer", "null"]},
        "cost": {"type": ["string", "null"], "description": f"The amount charged, {_USD}."},
        "url": {
            "type": ["string", "null"],
            "description": "The address of the file. Requests to it need the API key.",
        },
        "mime_type": {"type": ["string", "null"]},
        "expires_at": {"type": ["string", "null"], "description": "When the file is deleted."},
    }


def editing_models() -> list[ImageModel]:
    """Return the models that take source images."""
    return [model for model in catalogue().values() if model.sources]


def _text(description: str, kind: str = "string") -> Schema:
    return {"type": kind, "description": description}
