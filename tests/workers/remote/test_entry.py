"""Entries of remote models: those of the documents are taken, and declare what no request can say."""

from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import pytest
from pytest_django import Settings

from workers.catalogue import ImageModel, load
from workers.remote import configuration


@pytest.mark.parametrize(("file", "margin"), [("models.toml", "# "), ("docs/operations.md", "    ")])
def test_the_examples_are_entries_that_the_adapter_takes(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, file: str, margin: str
) -> None:
    lines = Path(settings.BASE_DIR, file).read_text().splitlines()
    start = lines.index(f"{margin}[z-image]")
    # In the document the example is one indented block, in the file it ends with the comment.
    ends_when_empty = margin == "# "
    example = takewhile(lambda line: line.startswith(margin) or not (line or ends_when_empty), lines[start:])
    models = tmp_path / "models.toml"
    own = Path(settings.BASE_DIR, "models.toml").read_text()
    models.write_text("\n".join([own, *(line.removeprefix(margin) for line in example)]))
    model = load(models)["z-image"]
    monkeypatch.setenv("FAR_KEY", "secret")
    remote = configuration.read_remote(model)
    assert (remote.key, remote.max_requests, remote.fields["num_inference_steps"]) == ("secret", 4, 9)
    assert (model.steps, model.queue, model.sources) == (1, "far", 0)


def test_a_remote_model_declares_what_it_cannot_do(describe: Callable[..., ImageModel]) -> None:
    model = describe()
    assert (model.takes_masks, model.takes_partial_images, model.takes_negative_prompt) == (False,) * 3
    assert model.takes_seed
    assert not describe(omit=["seed"]).takes_seed
