"""C15: the processor time of requests that wait for no image: the balance, a page of the history, an image of 14 KB.

A is a view of the Django REST framework that always replies the same, in Django's own ASGI handler. B is this service,
which checks a key, counts the request in Redis, reads PostgreSQL, and decrypts the image. Both are one process of the
same server, asked by one client over one connection. For B everything counts: the web process, PostgreSQL and Redis.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from django.test import override_settings
from django.utils import timezone

from bench import database, pictures, processor_time, service_cost, web
from bench.accounts import open_accounts
from bench.benchmark import Benchmark, Figure, Round, Samples, Skipped
from bench.service_cost import MILLISECONDS
from bench.web import Web
from billing.models import Account, Reservation
from storage import images
from storage.models import StoredImage
from workers.imaging import png
from workers.lifecycle import image_tokens
from workers.messaging.redis_client import connection as broker
from workers.models import Generation, Kind, Status

PATHS: Final = {"balance": "/v1/balance", "history": "/v1/generations", "image": "/v1/images/{token}"}
ACCOUNTS: Final = 15
# An account sends sixty requests in a minute, to three paths.
TIMES: Final = 60 // len(PATHS)
# A page of the history by default.
PAGE_ROWS: Final = 20
COST_MICROS: Final = 25_400
PARTS: Final = ("web", "postgres", "redis")

_numbers = count(1)


@contextmanager
def _prepare() -> Iterator[Round]:
    if not processor_time.PROC.is_dir():
        raise Skipped("the processor time of other processes is read from /proc, which this system lacks")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zekron-bench-")))
        objects = folder / "objects"
        store = {"BACKEND": "storage.file_store.FileStore", "OPTIONS": {"location": str(objects)}}
        stack.enter_context(override_settings(STORAGES={"objects": store}))
        environment = {"STORAGE_URL": objects.as_uri(), "DEBUG": "1"}
        usual, ours = (
            stack.enter_context(web.serve(application, name=name, folder=folder, environment=environment))
            for name, application in (
                ("constant", "bench.baselines.constant_view:application"),
                ("ours", "zekron_api.asgi:application"),
            )
        )
        yield partial(_measure, usual, ours, png.encode(pictures.flat(512)))


def _measure(usual: Web, ours: Web, content: bytes, b_first: bool) -> Samples:
    # Each round has its own accounts, because an account may send sixty requests in a minute.
    asked = [(key, _own_images(account, content)) for account, key in open_accounts(ACCOUNTS)]
    samples: dict[str, float] = {}
    for side in "BA" if b_first else "AB":
        if side == "A":
            orders = [("/constant", "none")] * ACCOUNTS
            samples["A"] = _ask(usual, orders)["web"] / MILLISECONDS
        else:
            for name, path in PATHS.items():
                parts = _ask(ours, [(path.format(token=token), key) for key, token in asked])
                samples |= service_cost.label_parts("B", name, parts)
    samples["constant view"] = MILLISECONDS * samples["A"]
    return {**samples, **{name: samples[f"B, {name}"] / samples["constant view"] for name in PATHS}}


def _ask(asked: Web, orders: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Send each order TIMES times, and return the milliseconds of a request in each part."""
    redis_pid = int(broker().info("server")["process_id"])
    before = asked.cpu_seconds, database.read_processor_seconds(), processor_time.read_seconds([redis_pid])
    for path, key in orders:
        asked.order(get=[path, key, TIMES])
    after = asked.cpu_seconds, database.read_processor_seconds(), processor_time.read_seconds([redis_pid])
    seconds = {
        "web": after[0] - before[0],
        "postgres": processor_time.sum_between(before[1], after[1]),
        "redis": processor_time.sum_between(before[2], after[2]),
    }
    return {part: MILLISECONDS * spent / (TIMES * len(orders)) for part, spent in seconds.items()}


def _own_images(account: Account, content: bytes) -> str:
    """Give the account a page of completed generations, and return the token of the newest, whose image exists."""
    now = timezone.now()
    reservations = Reservation.objects.bulk_create(
        Reservation(
            account=account,
            quote_micros=COST_MICROS,
            settled_micros=COST_MICROS,
            resolution=Reservation.Resolution.SETTLED,
            resolved_at=now,
        )
        for _ in range(PAGE_ROWS)
    )
    stored = StoredImage.objects.bulk_create(_build_images(content, expires_at=now + timedelta(hours=24)))
    made = Generation.objects.bulk_create(
        _build_generation(account, number, *rows, now=now)
        for number, rows in enumerate(zip(reservations, stored, strict=True), start=1)
    )
    for generation in made:
        token = image_tokens.token_of(generation_id=generation.pk)
        generation.token_digest = image_tokens.digest_of(token=token)
    Generation.objects.bulk_update(made, ["token_digest"])
    Account.objects.filter(pk=account.pk).update(hold_count=PAGE_ROWS)
    return token


def _build_images(content: bytes, *, expires_at: datetime) -> Iterator[StoredImage]:
    """Yield the rows of a page of images. Only the last one has an object."""
    real = images.put(
        content=content, mime_type="image/png", associated_data="benchmark", expires_at=expires_at
    )
    for _ in range(PAGE_ROWS - 1):
        yield StoredImage(
            object_key=f"benchmark {next(_numbers)}",
            associated_data="benchmark",
            mime_type="image/png",
            byte_count=len(content),
            algorithm=real.algorithm,
            master_key_id=real.master_key_id,
            wrapped_key=real.wrapped_key,
            expires_at=expires_at,
        )
    yield real


def _build_generation(
    account: Account, number: int, reservation: Reservation, image: StoredImage, *, now: datetime
) -> Generation:
    return Generation(
        account=account,
        number=number,
        reservation=reservation,
        kind=Kind.CREATE,
        model="zekron-image-1",
        prompt="A serene mountain landscape at golden hour",
        parameters={"width": 512, "height": 512, "seed": 1},
        quote_micros=COST_MICROS,
        cost_micros=COST_MICROS,
        status=Status.COMPLETED,
        attempt_count=1,
        turn_at=now,
        not_before=now,
        deadline_at=now,
        created_at=now,
        ended_at=now,
        expires_at=image.expires_at,
        image=image,
        # The digest of a token needs the id of the row.
        token_digest=image_tokens.digest_of(token=image.object_key),
    )


BENCHMARKS: Final = (
    Benchmark(
        code="C15",
        name="http",
        a="a constant view of the REST framework in Django's ASGI handler: no key, limit, database or Redis",
        b="balance, history and an image of 14 KB from this service: web, PostgreSQL and Redis",
        clock="CPU",
        figures=(
            Figure(name="balance", at_least=2, aim=1.5, lower_is_better=True),
            Figure(name="history", at_least=3.5, aim=2.5, lower_is_better=True),
            Figure(name="image", at_least=4, aim=3, lower_is_better=True),
            Figure(name="constant view", unit=" ms"),
            *(figure for name in PATHS for figure in service_cost.list_figures("B", name, parts=PARTS)),
        ),
        prepare=_prepare,
        needs_database=True,
    ),
)
