"""Texts and tests of the mutations, which must still be there: `make mutants` would otherwise try nothing."""

from collections import Counter

import pytest

from tests.mutants.__main__ import MUTATIONS
from tests.mutants.mutation import Mutation
from tests.mutants.trial import ROOT


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_text_of_a_mutation_is_there_once_and_so_are_its_tests(mutation: Mutation) -> None:
    assert (ROOT / mutation.path).read_text().count(mutation.text) == 1
    assert mutation.without != mutation.text
    for test in mutation.tests:
        path, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / path).read_text()


def test_no_two_mutations_have_one_name() -> None:
    assert [
        name for name, count in Counter(mutation.name for mutation in MUTATIONS).items() if count > 1
    ] == []
