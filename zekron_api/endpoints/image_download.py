"""The download of an image: whole, in part, or not at all if the client has it. The view checked who may have it."""

import hashlib
from functools import partial

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header

from storage import images
from storage.models import StoredImage
from workers.models import Generation
from zekron_api.http import byte_range, errors
from zekron_api.http.byte_range import ByteRange
from zekron_api.waiting.deferred_response import DeferredResponse


def respond(request: HttpRequest, *, generation: Generation) -> HttpResponse:
    """Return the response to GET or HEAD. The image is read once one of the account's slots is free.

    Raise ImageExpired, PreconditionFailed and RangeNotSatisfiable.
    """
    image = generation.image
    assert image is not None
    if image.wrapped_key is None:
        raise errors.ImageExpired
    tag = entity_tag(image)
    conditional = get_conditional_response(request, etag=tag)
    if conditional is not None and conditional.status_code == 412:
        raise errors.PreconditionFailed
    if conditional is not None:
        conditional["ETag"] = tag
        return conditional
    name = f"zekron-{generation.pk}.{image.mime_type.rpartition('/')[2]}"
    headers = {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": content_disposition_header(False, name) or "inline",
    }
    part = _asked_part(request, tag=tag, byte_count=image.byte_count)
    return DeferredResponse(
        account_id=generation.account_id, build=partial(_reply, image, part=part, headers=headers)
    )


def entity_tag(image: StoredImage, *, of: str = "") -> str:
    """Return a strong validator of the image, or of the named copy of it.

    An object is written once, so its name stands for its bytes.
    """
    return f'"{hashlib.sha256(f"{image.object_key}{of}".encode()).hexdigest()[:32]}"'


def _asked_part(request: HttpRequest, *, tag: str, byte_count: int) -> ByteRange | None:
    # Only GET has ranges. With If-Range, a part is wanted of this image alone, and else the whole one.
    if request.method != "GET" or request.headers.get("If-Range", tag) != tag:
        return None
    return byte_range.parse(request.headers.get("Range", ""), byte_count=byte_count)


def load(image: StoredImage) -> bytes:
    """Return the bytes of the image. Raise ImageExpired."""
    try:
        return images.load(image=image)
    except images.ObjectMissing:
        raise  # Storage lost an image that has not expired. That is an internal error.
    except images.ImageGone:
        raise errors.ImageExpired from None


def _reply(image: StoredImage, *, part: ByteRange | None, headers: dict[str, str]) -> HttpResponse:
    content = load(image)
    if part is None:
        return HttpResponse(content, content_type=image.mime_type, headers=headers)
    return HttpResponse(
        content[part.first : part.last + 1],
        status=206,
        content_type=image.mime_type,
        headers={**headers, "Content-Range": part.content_range},
    )
