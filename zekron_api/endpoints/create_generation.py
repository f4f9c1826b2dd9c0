"""Idempotent creation of a generation from the validated fields of a request.

It finds a retry, quotes the price, encrypts the source images and submits the generation.
"""

import hashlib
import logging
import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import chain
from typing import Any, Final, NamedTuple

import orjson
from django.conf import settings
from django.utils import timezone

from billing import holds, key_spending, keys, ledger, limits
from billing.grants import Grants
from billing.models import Account
from storage import images
from storage.models import StoredImage
from workers import error_redaction, moderation
from workers.catalogue import ImageModel
from workers.imaging import masks, source_images, source_manifest
from workers.imaging.encoders import (
    COMPRESSION_PARAMETER,
    DEFAULT_FORMAT,
    FORMAT_PARAMETER,
    MAX_COMPRESSION,
)
from workers.lifecycle import admission, generations, idempotency, lost_clients, partials, queries
from workers.lifecycle.idempotency import Idempotency
from workers.lifecycle.submission import NO_ORIGIN, Origin, Submission
from workers.messaging.partial_images import PARAMETER as PARTIAL_IMAGES
from workers.models import Generation, Kind
from workers.webhooks import endpoints, outbox
from zekron_api.endpoints import output_fields, parameter_fields
from zekron_api.http.authentication import Caller
from zekron_api.http.errors import InvalidField, ModelNotAllowed, SourcesNotStored

log = logging.getLogger(__name__)

# The life of a source after its time in the queue, which is longer than every deadline of a generation. The end of the
# generation deletes its source images earlier.
_SOURCE_LIFE = timedelta(hours=1)


# Fields that the first release did not have, with the values that ask for nothing. They are parts of a digest only
# where they ask for something, so that the keys of earlier releases stay valid.
_OF_PICTURE: Final[Mapping[str, object]] = {
    "n": 1,
    "mask": None,
    "seed": None,
    "negative_prompt": None,
    "quality": parameter_fields.AUTO,
    "background": parameter_fields.AUTO,
    "metadata": {},
    "expires_in": None,
    FORMAT_PARAMETER: DEFAULT_FORMAT,
    COMPRESSION_PARAMETER: MAX_COMPRESSION,
}
_OF_DELIVERY: Final[Mapping[str, object]] = {
    "async": None,
    "queue_ttl": None,
    PARTIAL_IMAGES: 0,
    outbox.URL_PARAMETER: None,
}
# The fields of a request that asks for nothing of these.
NOTHING_MORE: Final = {**_OF_PICTURE, **_OF_DELIVERY}
# What the row keeps beside the size and the seed, where it asks for something.
_KEPT: Final = ("negative_prompt", "metadata", "expires_in", PARTIAL_IMAGES, outbox.URL_PARAMETER)


class Created(NamedTuple):
    """A request that was accepted now, or earlier: under the same idempotency key, or for a client that was lost.

    It has a generation for each image that it asked for.
    """

    generations: Sequence[Generation]
    replayed: bool = False
    attached: bool = False

    @property
    def generation(self) -> Generation:
        """The first of the generations, which stands for the request."""
        return self.generations[0]

    @property
    def is_open(self) -> bool:
        """Return whether one of the generations has not ended."""
        return any(generation.is_open for generation in self.generations)


def create(
    *,
    account: Account,
    caller: Caller | None = None,
    fields: dict[str, Any],
    idempotency_key: str | None,
    queue_seconds: int | None = None,
    lost_digests: Sequence[str] = (),
    route: str = "",
    origin: Origin = NO_ORIGIN,
) -> Created:
    """Submit the validated fields of a GenerateSerializer, unless the key names an accepted generation.

    `caller` is the key or the person who asks, and `origin` the HTTP request. `queue_seconds` is for asynchronous
    work: the time in which an attempt must start. `lost_digests` are for a retry that may belong to a generation whose
    client was lost.
    `route` is a part of what an idempotency key stands for. Raises ModelNotAllowed, KeyReused, ContentRefused,
    ModerationFailed, PartialsSuspended, QueueTooLong, SourcesNotStored, and the exceptions of `generations.submit`.
    Refusals leave no source image behind.
    """
    account_id = account.pk
    if caller is not None:
        refuse_model(fields["model"], grants=caller.grants)
    named = _idempotency(idempotency_key, fields, route)
    if named and (accepted := idempotency.find(account_id=account_id, idempotency=named)):
        return Created(queries.list_group(accepted), replayed=True)
    if lost_digests and (lost := lost_clients.attach(account_id=account_id, digests=lost_digests)):
        return Created(queries.list_group(lost), attached=True)
    moderation.refuse_request(prompt=fields["prompt"], images=fields["images"])
    if fields[PARTIAL_IMAGES]:
        partials.refuse_if_suspended(account_id=account_id)
    if fields[outbox.URL_PARAMETER]:
        # The event of the end finds it, and its secret signs.
        endpoints.default_of(account_id=account_id)
    is_async = queue_seconds is not None
    admission.refuse_if_too_long(
        model_name=fields["model"].name,
        limit_seconds=settings.SYNC_WAIT_SECONDS if queue_seconds is None else queue_seconds,
        image_count=fields["n"],
        needs_worker=not is_async,
        # An autoscaler would start machines for an account that cannot pay for them.
        is_demand=account.available_micros >= fields["n"] * _quote_micros(fields),
    )
    _refuse_more_than_may_be_open(account, fields["n"], is_async=is_async)
    if caller is not None and caller.grants.open_limit is not None:
        _refuse_more_than(caller.grants.open_limit, fields["n"], "this API key")
    # A mask is stored behind the images that it belongs to.
    contents = [*fields["images"], *([fields["mask"]] if fields["mask"] else [])]
    sealed = _seal_all(account_id, contents, copies=fields["n"], queue_seconds=queue_seconds or 0)
    submission = _submission(
        fields,
        sealed,
        account_id=account_id,
        api_key_id=None if caller is None else caller.key_id,
        person_id=None if caller is None else caller.person_id,
        idempotency=named,
        queue_seconds=queue_seconds,
        origin=origin,
    )
    try:
        # The statement asks the account's row for a limit of its own.
        open_limit = limits.published().open_limit(is_async=is_async)
        accepted_now = generations.submit(submission=submission, open_limit=open_limit)
    except idempotency.AlreadyAccepted as twin:
        # The same request arrived twice at once. The idempotency key decided which came first.
        _discard_all(sealed)
        return Created(queries.list_group(twin.generation), replayed=True)
    except (
        idempotency.KeyReused,
        generations.TooManyOpen,
        generations.TooManyQueued,
        key_spending.KeySpendLimit,
        ledger.InsufficientBalance,
        holds.AccountSuspended,
        keys.InvalidKey,
    ):
        # Only a refusal certainly recorded nothing. After any other error the row may exist and need its sources.
        _discard_all(sealed)
        raise
    return Created(accepted_now)


def _refuse_more_than_may_be_open(account: Account, count: int, *, is_async: bool) -> None:
    """Raise InvalidField for a request that no end of other work would let in."""
    if count <= max(limits.limits_of(account).open_limit(is_async=is_async), 1):
        return
    # What is known of the account may be some seconds old, and nobody sends a 400 again.
    most = limits.limits_of(Account.objects.get(pk=account.pk)).open_limit(is_async=is_async)
    _refuse_more_than(max(most, 1), count, "an account")


def _refuse_more_than(most: int, count: int, owner: str) -> None:
    if count > most:
        message = f"n must be at most {most}, the number of generations that {owner} may have open."
        raise InvalidField("invalid_parameter", message, field="n")


def refuse_model(model: ImageModel, *, grants: Grants) -> None:
    """Raise ModelNotAllowed unless the key may ask for the model."""
    if not grants.admits_model(model.name):
        raise ModelNotAllowed(f"This API key may only use: {', '.join(grants.allowed_models or ())}.")


def _idempotency(key: str | None, fields: dict[str, Any], route: str) -> Idempotency | None:
    if key is None:
        return None
    request = [*content_of(fields, route=route), *_list_asked(fields, _OF_DELIVERY)]
    return Idempotency.of(key=key, request=request)


def content_of(fields: dict[str, Any], *, route: str = "") -> list[str | bytes]:
    """Return the parts of a request that say which pictures it asks for, and by which route if it is another one."""
    model: ImageModel = fields["model"]
    size = str(fields["size"])
    asked = [fields["prompt"], model.name, size, *images_of(fields), *_list_asked(fields, _OF_PICTURE)]
    return [*asked, f"route {route}"] if route else asked


def images_of(fields: dict[str, Any]) -> list[bytes]:
    """Return the source images as PNGs, without the archives of their manifests.

    An archive has random names, so it is new with each try.
    """
    return [source_manifest.split(content)[0] for content in fields["images"]]


def _list_asked(fields: dict[str, Any], defaults: Mapping[str, object]) -> list[str]:
    """Return a text for each of the fields that asks for something."""
    asked = {name: fields[name] for name, default in defaults.items() if fields[name] not in (None, default)}
    return [f"{name} {_write(value)}" for name, value in asked.items()]


def _write(value: object) -> str:
    """Return a text that is equal for equal values, whatever the order of an object's names."""
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    is_object = isinstance(value, dict)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if is_object else str(value)


def _submission(fields: dict[str, Any], sealed: Sequence[Sequence[StoredImage]], **given: Any) -> Submission:
    """Return the submission of the fields, with what is given beside them."""
    model: ImageModel = fields["model"]
    width, height = fields["size"]
    wanted = {name: fields[name] for name in _KEPT if fields[name]}
    wanted |= {masks.PARAMETER: True} if fields["mask"] else {}
    wanted |= output_fields.encoding_of(fields).parameters
    if fields["images"]:
        wanted["source_sizes"] = [source_images.size_of(content) for content in images_of(fields)]
    # The generation keeps its seed, so that a second attempt makes the same image.
    first_seed = secrets.randbits(32) if fields["seed"] is None else fields["seed"]
    seeds = [(first_seed + index) % (parameter_fields.MAX_SEED + 1) for index in range(fields["n"])]
    return Submission(
        kind=Kind.EDIT if fields["images"] else Kind.CREATE,
        model=model.name,
        prompt=fields["prompt"],
        parameters=[{"width": width, "height": height, "seed": seed, **wanted} for seed in seeds],
        quote_micros=_quote_micros(fields),
        sources=sealed,
        **given,
    )


def _quote_micros(fields: dict[str, Any]) -> int:
    """Return the price of each picture."""
    model: ImageModel = fields["model"]
    width, height = fields["size"]
    return model.price.quote_micros(width=width, height=height, source_count=len(fields["images"]))


def _seal_all(
    account_id: int, contents: Sequence[bytes], *, copies: int, queue_seconds: int
) -> list[list[StoredImage]]:
    """Seal the sources once for each generation, because its end destroys the keys of its own.

    Raises SourcesNotStored.
    """
    sealed: list[list[StoredImage]] = [[] for _ in range(copies)]
    try:
        for own in sealed:
            for content in contents:
                own.append(_seal(account_id, content, queue_seconds))
    except Exception:
        _discard_all(sealed)
        raise
    return sealed


def _discard_all(sealed: Sequence[Sequence[StoredImage]]) -> None:
    for image in chain.from_iterable(sealed):
        images.discard(image=image)


def _seal(account_id: int, content: bytes, queue_seconds: int) -> StoredImage:
    try:
        return images.put(
            content=content,
            mime_type="image/png",
            associated_data=f"account {account_id} source",
            expires_at=timezone.now() + timedelta(seconds=queue_seconds) + _SOURCE_LIFE,
        )
    except OSError as error:
        log.warning("Object storage took no source image: %s", error_redaction.summarise(error))
        raise SourcesNotStored from error
