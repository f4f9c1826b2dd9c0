"""The command that tries a model before the first customer does."""

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from PIL import Image

from tests.workers.conftest import entry
from workers.management import lookup
from workers.management.commands import check_model


@pytest.fixture
def models(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "catalogue", lambda: {"small": entry(small_model)})
    monkeypatch.setattr(check_model, "SIZES", ((64, 64), (128, 64)))


@pytest.mark.usefixtures("models")
def test_each_size_and_each_kind_of_edit_is_made_and_measured(tmp_path: Path) -> None:
    out = io.StringIO()
    call_command("check_model", "small", pictures=tmp_path, stdout=out)
    lines = out.getvalue().splitlines()
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "load, plain, on cpu",
        "64x64",
        "128x64",
        "edit of 1",
        "edit of 2",
    ]
    assert all(line.endswith(" s") for line in lines[1:])
    with Image.open(tmp_path / "128x64.png") as picture:
        assert picture.size == (128, 64)


@pytest.mark.usefixtures("models")
def test_an_unknown_model_is_named_beside_those_that_there_are() -> None:
    with pytest.raises(CommandError, match=r"Unknown model 'other'\. Allowed: small"):
        call_command("check_model", "other")


def test_a_model_that_does_not_load_fails_the_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lookup, "catalogue", lambda: {"small": entry(tmp_path / "nothing")})
    with pytest.raises(CommandError, match=r"small does not work on .*: the model .* has no weights"):
        call_command("check_model", "small", stdout=io.StringIO())
