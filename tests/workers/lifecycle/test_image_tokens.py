"""The name of an image: its owner can derive it, and neither an id nor a copy of the database is enough."""

import hashlib

import pytest
from pytest_django import Settings

from tests import factories
from workers.lifecycle import image_tokens, queries
from workers.models import Generation, Status


def test_a_token_is_64_hex_digits_and_another_one_for_each_generation() -> None:
    tokens = {image_tokens.token_of(generation_id=generation_id) for generation_id in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 64 and set(token) <= set("0123456789abcdef") for token in tokens)


def test_a_token_needs_the_secret_key(settings: Settings) -> None:
    settings.SECRET_KEY = "a" * 50
    one = image_tokens.token_of(generation_id=7)
    settings.SECRET_KEY = "b" * 50
    assert image_tokens.token_of(generation_id=7) != one


def test_tokens_stay_what_they_are(settings: Settings) -> None:
    # A change here would break every link to an image that a client has kept.
    settings.SECRET_KEY = "a fixed secret for this test alone"
    token = image_tokens.token_of(generation_id=42)
    assert token == "82290b85de59df62652cb2eaa24fadf65d2c18d954235a8d011c1740883b4b8f"
    assert image_tokens.digest_of(token=token) == hashlib.sha256(token.encode()).hexdigest()


@pytest.mark.django_db(transaction=True)
def test_the_row_has_the_digest_alone_and_the_token_finds_its_generation() -> None:
    owner = factories.account()
    rows = [factories.generation_in(Status.COMPLETED, owner) for _ in range(2)]
    for row in rows:
        token = image_tokens.token_of(generation_id=row.pk)
        [stored] = Generation.objects.filter(pk=row.pk).values()
        assert not any(token in str(value) for value in stored.values())
        assert queries.find_by_token(token=token) == row
        with pytest.raises(Generation.DoesNotExist):
            queries.find_by_token(token=stored["token_digest"])
