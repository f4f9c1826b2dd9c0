"""Promises seen through the API: silence about a service that works, and a line for each image that is another."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from billing import keys
from billing.models import Account
from storage import images
from tests import factories
from tests.chaos import engine, promises
from tests.chaos.client_log import ClientLog, Owner, Reply
from tests.chaos.snapshot import Snapshot, gather
from workers.gpu_worker import finished_image
from workers.lifecycle import deletion, generations
from workers.models import Generation

pytestmark = pytest.mark.django_db
OPENING_MICROS = 10_000_000


class DeskClerk(promises.Clerk):
    """Asks the same views without a server before them."""

    def __init__(self) -> None:
        self._client = Client(headers={"host": "localhost"})

    def get(self, path: str, owner: Owner) -> tuple[int, bytes]:
        """Return what the view answers."""
        reply = self._client.get(path, headers={"Authorization": f"Bearer {owner.key}"})
        return reply.status_code, reply.content


def _owner() -> Owner:
    account = factories.account(balance_micros=OPENING_MICROS)
    return Owner(account.pk, keys.issue(account_id=account.pk)[1], OPENING_MICROS)


@pytest.fixture
def client_log() -> ClientLog:
    """Two owners, each with an order that was completed."""
    client_log = ClientLog()
    for _ in range(2):
        owner, now = _owner(), timezone.now()
        order = client_log.open(
            owner=owner, prompt="a boat", size="512x512", sources=(), has_key=True, leaves=False
        )
        account = Account.objects.get(pk=owner.account_id)
        running = factories.claim(
            generation_id=factories.submit(account, prompt=order.prompt, now=now).pk, now=now
        )
        image = images.put(
            content=finished_image.encode(
                np.asarray(
                    engine.picture(
                        prompt=order.prompt, width=512, height=512, seed=running.parameters["seed"]
                    )
                ),
                generation=running,
            ).content,
            mime_type="image/png",
            associated_data="x",
            expires_at=now + timedelta(hours=24),
        )
        generations.complete(generation=running, image=image, cost_micros=running.quote_micros, now=now)
        row = Generation.objects.get(pk=running.pk)
        client_log.note(
            order, Reply(0.0, 200, "", row.pk, promises.expected_digest(row, ()), "", "0.0267", False)
        )
    return client_log


def _snapshot() -> Snapshot:
    with connection.cursor() as cursor:
        return gather(cursor.db.connection, object_keys=())


def _images(client_log: ClientLog) -> list[str]:
    return list(promises.images(DeskClerk(), _snapshot(), client_log))


def test_nothing_is_said_of_images_as_they_were_made(client_log: ClientLog) -> None:
    assert _images(client_log) == []
    assert list(promises.statements(DeskClerk(), _snapshot(), client_log)) == []


def test_an_image_that_came_as_another_is_told(client_log: ClientLog) -> None:
    order = client_log.orders[0]
    order.replies[0] = order.replies[0]._replace(digest="another")
    assert _images(client_log) == [
        f"order 1: generation {order.replies[0].generation_id} came with another image than was made of it"
    ]


def test_an_image_of_another_order_is_told(client_log: ClientLog) -> None:
    first, second = Generation.objects.order_by("pk")
    parameters: dict[str, Any] = {**first.parameters, "seed": 2}
    Generation.objects.filter(pk=first.pk).update(parameters=parameters)
    told = _images(client_log)
    assert f"generation {first.pk}: its image is another than was made of it" in told
    assert not any(f"generation {second.pk}" in line for line in told)


def test_an_image_that_is_gone_is_told_unless_it_was_taken(
    client_log: ClientLog, objects_folder: Path
) -> None:
    first = Generation.objects.earliest("pk")
    assert first.image is not None
    (objects_folder / first.image.object_key).unlink()
    assert _images(client_log) == [f"generation {first.pk}: its owner is answered 500, not 200"]
    client_log.spoil(first.pk, status=500)
    assert _images(client_log) == []


def test_a_deleted_image_that_its_owner_still_gets_is_told(client_log: ClientLog) -> None:
    first = Generation.objects.earliest("pk")
    assert client_log.may_delete(first.pk, first.prompt)
    client_log.note_deleted(first.pk)
    Generation.objects.filter(pk=first.pk).update(prompt="", parameters={"width": 512, "height": 512})
    assert _images(client_log) == [f"generation {first.pk}: its owner is answered 200, not 410"]
    deletion.delete_generation(generation_id=first.pk)
    assert _images(client_log) == []


def test_an_image_whose_deletion_was_never_answered_is_there(client_log: ClientLog) -> None:
    first = Generation.objects.earliest("pk")
    assert client_log.may_delete(first.pk, first.prompt)
    assert _images(client_log) == []
    assert not client_log.may_delete(first.pk, first.prompt)


def test_an_image_that_a_stranger_gets_is_told(
    client_log: ClientLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = client_log.orders[0].owner
    read = DeskClerk.get
    monkeypatch.setattr(DeskClerk, "get", lambda clerk, path, _owner: read(clerk, path, own))
    told = _images(client_log)
    assert (
        f"generation {client_log.orders[0].replies[0].generation_id}: a stranger is answered 200, not 403"
        in told
    )


def test_a_balance_that_does_not_add_up_is_told(client_log: ClientLog) -> None:
    order = client_log.orders[0]
    poorer = order.owner._replace(opening_micros=OPENING_MICROS + 100)
    order.owner = poorer
    told = list(promises.statements(DeskClerk(), _snapshot(), client_log))
    assert len(told) == 1
    assert "is not 10.0001 in all" in told[0]
