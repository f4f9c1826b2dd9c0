import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project_settings
from transformers import AutoTokenizer

from bench.models_file import PRICE
from demo_model.config import PROMPT_TOKENS, STEPS
from workers import catalogue
from workers.catalogue import LATENT_ADAPTERS, CatalogueError, load
from workers.pipelines.flux2.prompt_template import PromptTemplate

ENTRY = (
    """
[zekron-image-1]
adapter = "flux2-klein"
weights = "var/models/small"
licence = "Apache-2.0"
steps = 4
dtype = "float32"
batch_limit = 4
options = {max_sequence_length = 256}
"""
    + PRICE
)


def written(folder: Path, text: str) -> Path:
    path = folder / "models.toml"
    path.write_text(text)
    return path


def test_the_projects_own_file_is_read_and_prices_as_published() -> None:
    model = catalogue.catalogue()[catalogue.DEFAULT_MODEL]
    assert model.steps == STEPS
    assert model.weights == str(Path(project_settings.BASE_DIR) / "demo_model/weights")
    assert model.options == {
        "max_sequence_length": PROMPT_TOKENS,
        "text_encoder_out_layers": [1, 2, 3],
        "prompt_cut": "middle",
        "source_shape": "ordered",
    }
    tokenizer = AutoTokenizer.from_pretrained(Path(model.weights, "tokenizer"))
    template = PromptTemplate(tokenizer=tokenizer, length=PROMPT_TOKENS, cut="middle")
    assert template.fit("a beach" * 100).tokens.read == model.max_prompt_tokens
    assert model.price.quote_micros(width=1024, height=1024, source_count=0) == 26_700
    assert model.price.quote_micros(width=1024, height=1024, source_count=1) == 27_100


def test_the_file_of_the_settings_is_read_once(tmp_path: Path, settings: Any) -> None:
    settings.MODELS_FILE = written(tmp_path, ENTRY)
    first = catalogue.catalogue()
    settings.MODELS_FILE.unlink()
    assert catalogue.catalogue() is first


def test_every_field_is_read(tmp_path: Path) -> None:
    model = load(written(tmp_path, ENTRY))["zekron-image-1"]
    assert (model.name, model.adapter, model.licence) == ("zekron-image-1", "flux2-klein", "Apache-2.0")
    assert (model.steps, model.dtype, model.batch_limit) == (4, "float32", 4)
    assert model.options == {"max_sequence_length": 256}
    assert (model.sources, model.queue, model.max_prompt_tokens) == (2, "gpu", None)


def test_a_model_may_say_how_long_a_prompt_it_reads(tmp_path: Path) -> None:
    text = ENTRY.replace("steps = 4", "steps = 4\nmax_prompt_tokens = 509")
    assert load(written(tmp_path, text))["zekron-image-1"].max_prompt_tokens == 509


@pytest.mark.parametrize(
    ("adapter", "options", "takes"),
    [
        ("flux2-klein", "", False),
        ("qwen-image", "", True),
        ("stable-diffusion-xl", "guidance_scale = 5", True),
        ("stable-diffusion-xl", "guidance_scale = 1", False),
    ],
)
def test_a_negative_prompt_is_for_guided_models(
    tmp_path: Path, adapter: str, options: str, takes: bool
) -> None:
    text = ENTRY.replace("flux2-klein", adapter).replace("max_sequence_length = 256", options)
    assert load(written(tmp_path, text))["zekron-image-1"].takes_negative_prompt == takes


@pytest.mark.parametrize(
    ("adapter", "steps", "takes"),
    [
        *((adapter, steps, steps > 1) for adapter in LATENT_ADAPTERS for steps in (1, 2)),
        ("studio.crayons", 4, False),
    ],
)
def test_partial_images_are_for_adapters_with_latents_and_more_than_a_step(
    tmp_path: Path, adapter: str, steps: int, takes: bool
) -> None:
    text = ENTRY.replace("flux2-klein", adapter).replace("steps = 4", f"steps = {steps}")
    assert load(written(tmp_path, text))["zekron-image-1"].takes_partial_images == takes


def test_a_model_may_say_how_many_images_a_request_asks_for(tmp_path: Path) -> None:
    assert load(written(tmp_path, ENTRY))["zekron-image-1"].max_n == 4
    assert (
        load(written(tmp_path, ENTRY.replace("steps = 4", "steps = 4\nmax_n = 10")))["zekron-image-1"].max_n
        == 10
    )
    with pytest.raises(catalogue.CatalogueError, match="max_n is not a whole number from 1 to 10"):
        load(written(tmp_path, ENTRY.replace("steps = 4", "steps = 4\nmax_n = 11")))


def test_a_model_may_say_how_many_sources_it_takes_and_which_workers_make_it(tmp_path: Path) -> None:
    text = ENTRY.replace("steps = 4", 'steps = 4\nsources = 0\nqueue = "large"')
    model = load(written(tmp_path, text))["zekron-image-1"]
    assert (model.sources, model.queue) == (0, "large")


def test_the_models_of_a_worker_are_those_of_its_queues(tmp_path: Path, settings: Any) -> None:
    other = ENTRY.replace("zekron-image-1", "other").replace("steps = 4", 'steps = 4\nqueue = "large"')
    settings.MODELS_FILE = written(tmp_path, ENTRY + other)
    assert [model.name for model in catalogue.models_of(["gpu"])] == ["zekron-image-1"]
    assert [model.name for model in catalogue.models_of(["large", "chores"])] == ["other"]
    assert [model.name for model in catalogue.models_of(["large", "gpu"])] == ["zekron-image-1", "other"]
    assert catalogue.models_of(["chores"]) == []


def test_weights_among_the_options_are_found_as_those_of_the_model_are(tmp_path: Path) -> None:
    options = 'options = {edit_weights = "var/models/edit", other_weights = "Qwen/Qwen-Image-Edit-2509"}'
    text = ENTRY.replace("options = {max_sequence_length = 256}", options)
    assert load(written(tmp_path, text))["zekron-image-1"].options == {
        "edit_weights": str(tmp_path / "var/models/edit"),
        "other_weights": "Qwen/Qwen-Image-Edit-2509",
    }


def test_weights_that_may_not_be_used_for_money_are_refused_unless_the_settings_name_their_model(
    tmp_path: Path, settings: Any
) -> None:
    unpaid = ENTRY.replace("zekron-image-1", "dev").replace("Apache-2.0", "flux-1-dev-non-commercial-license")
    settings.MODELS_FILE = written(tmp_path, ENTRY + unpaid)
    settings.ALLOW_NONCOMMERCIAL = frozenset({"another"})
    with pytest.raises(
        CatalogueError, match=r"dev: its licence \S+ forbids paid use; .* ALLOW_NONCOMMERCIAL=dev$"
    ):
        catalogue.catalogue()
    settings.ALLOW_NONCOMMERCIAL = frozenset({"another", "dev"})
    assert set(catalogue.catalogue()) == {"zekron-image-1", "dev"}


@pytest.mark.parametrize("weights", ["var/models/small", "./models", "there"])
def test_a_folder_is_relative_to_the_file(tmp_path: Path, weights: str) -> None:
    (tmp_path / "there").mkdir()
    path = written(tmp_path, ENTRY.replace("var/models/small", weights))
    assert load(path)["zekron-image-1"].weights == str(tmp_path / weights)


def test_an_absolute_folder_stays_what_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, ENTRY.replace("var/models/small", "/srv/klein"))
    assert load(path)["zekron-image-1"].weights == "/srv/klein"


def test_anything_else_is_the_id_of_a_hub(tmp_path: Path) -> None:
    path = written(tmp_path, ENTRY.replace("var/models/small", "black-forest-labs/FLUX.2-klein-4B"))
    assert load(path)["zekron-image-1"].weights == "black-forest-labs/FLUX.2-klein-4B"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("steps = 4", "steps = 4\nstep = 4", "unknown field 'step'"),
        ("steps = 4", "", "lacks the field 'steps'"),
        ("steps = 4", "steps = true", "steps is not a whole number"),
        ("steps = 4", "steps = 0", "steps is not a whole number"),
        ("steps = 4", 'steps = "4"', "steps is not a whole number"),
        ("steps = 4", "steps = 4000", "steps is not a whole number"),
        ("steps = 4", "steps = 4\nsources = 3", "sources is not a whole number from 0 to 2"),
        ("steps = 4", "steps = 4\nsources = true", "sources is not a whole number from 0 to 2"),
        ("steps = 4", 'steps = 4\nqueue = "chores"', "queue is 1 to 32 of a-z"),
        ("steps = 4", 'steps = 4\nqueue = "a,b"', "queue is 1 to 32 of a-z"),
        ("steps = 4", "steps = 4\nqueue = 7", "queue is not a text"),
        ("steps = 4", "steps = 4\nmax_prompt_tokens = 0", "max_prompt_tokens is not a whole number from 1"),
        ("batch_limit = 4", "batch_limit = 4.0", "batch_limit is not a whole number"),
        ('"float32"', '"float64"', "dtype is 'float64', not one of"),
        ('"Apache-2.0"', '" "', "licence is not a text"),
        ('"Apache-2.0"', "2", "licence is not a text"),
        ("options = {max_sequence_length = 256}", "options = 1", "options is not a table"),
        ('base = "0.0250"', "base = 0.0250", "price: base must be text in quotes"),
        ('base = "0.0250"', 'base = "-1"', "price: "),
        ("most =", "mots =", "price: A price has exactly"),
        ("zekron-image-1", "Zekron 1", None),
        ("zekron-image-1", "other", "has no zekron-image-1"),
        (ENTRY, "zekron-image-1 = 3", "is not a table"),
        (ENTRY, "", "has no zekron-image-1"),
        (ENTRY, "[", "is not TOML"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, old: str, new: str, why: str | None) -> None:
    path = written(tmp_path, ENTRY.replace(old, new))
    with pytest.raises(CatalogueError) as refusal:
        load(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert why is None or why in message


def test_a_bad_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="a model's name is"):
        load(written(tmp_path, ENTRY + ENTRY.replace("zekron-image-1", '"Zekron 1"')))


def test_a_missing_file_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CatalogueError, match="is not TOML"):
        load(path)


def test_a_catalogue_cannot_be_changed(tmp_path: Path) -> None:
    models = load(written(tmp_path, ENTRY))
    with pytest.raises(TypeError):
        models["other"] = models["zekron-image-1"]  # type: ignore[index]
    with pytest.raises(TypeError):
        models["zekron-image-1"].options["x"] = 1  # type: ignore[index]


def test_a_model_of_the_hub_can_be_pinned_to_a_revision(tmp_path: Path) -> None:
    pinned = "black-forest-labs/FLUX.2-klein-4B@e7b7dc27"
    path = written(tmp_path, ENTRY.replace("var/models/small", pinned))
    assert load(path)["zekron-image-1"].weights == pinned


@pytest.mark.parametrize("weights", ["klein", "owner/name@", "https://hub/owner/name", "owner/name@a b"])
def test_weights_that_are_neither_a_folder_nor_a_name_are_refused(tmp_path: Path, weights: str) -> None:
    path = written(tmp_path, ENTRY.replace("var/models/small", weights))
    with pytest.raises(CatalogueError, match="neither a folder nor owner/name@revision"):
        load(path)


ALIASES = """
[aliases]
"gpt-image-2" = "zekron-image-1"
"*" = "zekron-image-1"
"""


def test_there_are_no_aliases_by_default() -> None:
    assert catalogue.aliases() == {}
    assert catalogue.find_model("gpt-image-2") is None
    assert catalogue.known_names() == [catalogue.DEFAULT_MODEL]


def test_an_alias_stands_for_a_model_and_one_for_every_other_name(tmp_path: Path, settings: Any) -> None:
    settings.MODELS_FILE = written(tmp_path, ENTRY + ALIASES)
    assert set(catalogue.catalogue()) == {"zekron-image-1"}
    assert catalogue.known_names() == ["zekron-image-1", "gpt-image-2"]
    for name in ("zekron-image-1", "gpt-image-2", "dall-e-2", "", "*"):
        assert catalogue.find_model(name) is catalogue.catalogue()["zekron-image-1"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('"a" = "b"', "'a' stands for 'b', which is no model of this file"),
        ('"a" = "aliases"', "'a' stands for 'aliases', which is no model of this file"),
        ('"a" = 3', "'a' stands for 3, which is no model of this file"),
        ('"a" = ["zekron-image-1"]', "'a' stands for ['zekron-image-1'], which is no model of this file"),
        ('"zekron-image-1" = "zekron-image-1"', "'zekron-image-1' is the name of a model"),
        ('"a b" = "zekron-image-1"', "'a b' is neither '*' nor 1 to 128 letters, digits and ._:/-"),
    ],
)
def test_a_mistake_in_the_aliases_is_told_when_the_models_are_read(
    tmp_path: Path, settings: Any, line: str, why: str
) -> None:
    settings.MODELS_FILE = written(tmp_path, f"{ENTRY}\n[aliases]\n{line}\n")
    with pytest.raises(CatalogueError, match=f"aliases: {re.escape(why)}$"):
        catalogue.catalogue()


def test_aliases_are_a_table(tmp_path: Path, settings: Any) -> None:
    settings.MODELS_FILE = written(tmp_path, "aliases = 3\n" + ENTRY)
    with pytest.raises(CatalogueError, match=r"aliases: is not a table$"):
        catalogue.catalogue()
