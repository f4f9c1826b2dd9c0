"""Each guard is still where it was, and so are the tests that hold it: `make mutants` would otherwise try nothing."""

from collections import Counter

import pytest

from tests.mutants.__main__ import GUARDS
from tests.mutants.mutation import Mutation
from tests.mutants.trial import ROOT


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_is_where_it_was_and_its_tests_are_there(guard: Mutation) -> None:
    assert (ROOT / guard.path).read_text().count(guard.text) == 1
    assert guard.without != guard.text
    for test in guard.tests:
        path, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / path).read_text()


def test_no_two_guards_have_one_name() -> None:
    assert [name for name, count in Counter(guard.name for guard in GUARDS).items() if count > 1] == []
