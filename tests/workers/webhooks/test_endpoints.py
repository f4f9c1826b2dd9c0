"""Endpoints: their number, their secrets, and what becomes of them."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from pytest_django import Settings

from storage import keyring, sealed_secrets
from storage.models import SealedSecret
from tests import factories
from tests.workers.webhooks import made
from tests.workers.webhooks.made import NOW, later
from workers.webhook_models import MAX_ENDPOINTS, DisabledReason, WebhookDelivery, WebhookEndpoint
from workers.webhooks import deliveries, endpoints, events

pytestmark = pytest.mark.django_db


def test_an_account_has_ten_endpoints_at_most_and_a_deleted_one_makes_room() -> None:
    owner = factories.account()
    endpoints.default_of(account_id=owner.pk)
    mine = [made.endpoint(owner) for _ in range(MAX_ENDPOINTS)]
    with pytest.raises(endpoints.TooManyEndpoints):
        made.endpoint(owner)
    made.endpoint(factories.account())
    endpoints.delete(endpoint_id=mine[3].pk)
    again = made.endpoint(owner)
    assert [each.pk for each in endpoints.of_account(owner.pk)] == [
        *(each.pk for each in mine if each != mine[3]),
        again.pk,
    ]


@pytest.mark.django_db(transaction=True)
def test_no_race_makes_an_eleventh() -> None:
    owner = factories.account()
    for _ in range(MAX_ENDPOINTS - 3):
        made.endpoint(owner)
    tried = factories.at_once(8, lambda _: made.endpoint(owner))
    made_now = [each for each in tried if isinstance(each, WebhookEndpoint)]
    refused = [each for each in tried if isinstance(each, endpoints.TooManyEndpoints)]
    assert (len(made_now), len(refused)) == (3, 5)
    assert endpoints.of_account(owner.pk).count() == MAX_ENDPOINTS


@pytest.mark.django_db(transaction=True)
def test_the_default_endpoint_is_made_once() -> None:
    owner = factories.account()
    found = factories.at_once(6, lambda _: endpoints.default_of(account_id=owner.pk))
    assert {each.pk for each in found} == {WebhookEndpoint.objects.get(is_default=True).pk}
    assert SealedSecret.objects.count() == 1


@pytest.mark.parametrize(
    "columns",
    [
        {"place": 11},
        {"place": 0},
        {"place": None},
        {"url": ""},
        {"secret": None},
        {"is_default": True},
        {"former_secret_until": NOW},
        {"disabled_at": NOW},
        {"deleted_at": NOW},
    ],
)
def test_the_database_refuses_an_endpoint_that_cannot_be(columns: dict[str, object]) -> None:
    endpoint = made.endpoint()
    with pytest.raises(IntegrityError), transaction.atomic():
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(**columns)


def test_a_deleted_endpoint_has_no_secret_and_nothing_waits_for_it() -> None:
    endpoint = endpoints.rotate(endpoint_id=made.endpoint().pk, overlap_seconds=60)
    waits = made.delivery(endpoint)
    assert SealedSecret.objects.count() == 2
    for _ in range(2):
        endpoints.delete(endpoint_id=endpoint.pk, now=NOW)
    assert SealedSecret.objects.count() == 0
    assert WebhookDelivery.objects.get(pk=waits.pk).next_at is None
    deliveries.purge(now=later(days=8))
    assert not WebhookEndpoint.objects.exists()


def test_the_row_of_a_deleted_endpoint_stays_as_long_as_one_of_its_deliveries() -> None:
    endpoint = made.endpoint()
    made.delivery(endpoint, next_at=None, created_at=later(days=5))
    endpoints.delete(endpoint_id=endpoint.pk, now=NOW)
    deliveries.purge(now=later(days=8))
    assert WebhookEndpoint.objects.exists()
    deliveries.purge(now=later(days=13))
    assert not WebhookEndpoint.objects.exists()


def test_enabled_again_an_endpoint_starts_without_failures() -> None:
    endpoint = made.endpoint()
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(failure_count=50, failing_since=NOW)
    endpoint.refresh_from_db()
    endpoints.disable(endpoint=endpoint, reason=DisabledReason.FAILING, now=NOW)
    endpoints.change(endpoint_id=endpoint.pk, changes={"is_enabled": True})
    endpoint.refresh_from_db()
    assert (endpoint.is_enabled, endpoint.failure_count, endpoint.failing_since) == (True, 0, None)
    assert (endpoint.disabled_at, endpoint.disabled_reason) == (None, "")


def test_what_its_owner_disables_has_no_reason_and_nothing_waits_for_it() -> None:
    endpoint = made.endpoint()
    waits = made.delivery(endpoint)
    endpoints.change(endpoint_id=endpoint.pk, changes={"is_enabled": False, "description": "off"})
    endpoint.refresh_from_db()
    assert (endpoint.is_enabled, endpoint.disabled_at, endpoint.description) == (False, None, "off")
    assert WebhookDelivery.objects.get(pk=waits.pk).error == "webhook_disabled"


def test_a_second_rotation_destroys_the_secret_that_still_signed() -> None:
    endpoint = made.endpoint()
    secrets = [endpoints.secret_text(endpoint)]
    for _ in range(2):
        rotated = endpoints.rotate(endpoint_id=endpoint.pk, overlap_seconds=60, now=NOW)
        secrets.append(endpoints.secret_text(rotated))
    assert len(set(secrets)) == 3
    assert SealedSecret.objects.count() == 2
    assert [
        sealed_secrets.read(secret=each) for each in (rotated.secret, rotated.former_secret) if each
    ] == endpoints.secrets_of(rotated, now=NOW)


def test_a_former_secret_is_destroyed_once_its_time_is_over() -> None:
    endpoint = endpoints.rotate(endpoint_id=made.endpoint().pk, overlap_seconds=60, now=NOW)
    deliveries.purge(now=NOW + timedelta(seconds=59))
    assert SealedSecret.objects.count() == 2
    deliveries.purge(now=NOW + timedelta(seconds=60))
    endpoint.refresh_from_db()
    assert (endpoint.former_secret_id, endpoint.former_secret_until) == (None, None)
    assert SealedSecret.objects.count() == 1


def test_secrets_are_sealed_under_the_master_key_and_follow_its_rotation(settings: Settings) -> None:
    settings.MASTER_KEYS = {"old": b"o" * 32}
    endpoint = endpoints.rotate(endpoint_id=made.endpoint().pk, overlap_seconds=60)
    before = endpoints.secrets_of(endpoint, now=NOW)
    row = SealedSecret.objects.get(pk=endpoint.secret_id)
    assert before[0] not in bytes(row.wrapped_key)
    settings.MASTER_KEYS = {"new": b"n" * 32, "old": b"o" * 32}
    out = StringIO()
    call_command("rotate_master_key", stdout=out)
    assert out.getvalue().splitlines() == [
        "2 live keys, 2 of them rewrapped by new",
        "old is no longer needed",
    ]
    settings.MASTER_KEYS = {"new": b"n" * 32}
    again = WebhookEndpoint.objects.select_related("secret", "former_secret").get(pk=endpoint.pk)
    assert endpoints.secrets_of(again, now=NOW) == before


def test_a_secret_that_no_master_key_opens_is_named_by_the_rotation(settings: Settings) -> None:
    settings.MASTER_KEYS = {"lost": b"l" * 32}
    endpoint = made.endpoint()
    settings.MASTER_KEYS = {"new": b"n" * 32}
    err = StringIO()
    with pytest.raises(SystemExit):
        call_command("rotate_master_key", stdout=StringIO(), stderr=err)
    assert err.getvalue().splitlines() == [f"secret {endpoint.secret_id}: no master key opens it"]
    with pytest.raises(keyring.KeyRefused):
        endpoints.secret_text(endpoint)


def test_the_ends_of_a_generation_are_what_an_endpoint_gets_by_default() -> None:
    assert made.endpoint().events == [events.COMPLETED, events.FAILED, events.CANCELLED]
