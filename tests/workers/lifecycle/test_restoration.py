"""The ids that a restore leaves out. The whole restore is tested in `tests/test_restore.py`."""

import pytest
from django.core.management import CommandError, call_command

from tests import factories
from workers.lifecycle import restoration

pytestmark = pytest.mark.django_db


def test_the_next_id_is_beyond_those_that_are_left_out() -> None:
    before = factories.account()
    restoration.skip_ids(count=5)
    assert factories.account().pk == before.pk + 6


@pytest.mark.parametrize("count", [-1_000_000, 0, 10**16])
def test_a_number_that_gives_ids_again_or_uses_them_up_is_refused(count: int) -> None:
    before = factories.account()
    with pytest.raises(CommandError, match="must be from 1 to"):
        call_command("finish_restore", skip_ids=count)
    assert factories.account().pk == before.pk + 1
