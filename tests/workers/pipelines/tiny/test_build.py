import io
import json
import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import call_command
from django.core.management.base import CommandError

from workers.pipelines.tiny import build as tiny_build


def weights(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


CLASSES = {
    "stable-diffusion-xl": {
        "_class_name": "StableDiffusionXLPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    },
    "qwen-image": {
        "_class_name": "QwenImagePipeline",
        "transformer": ["diffusers", "QwenImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLQwenImage"],
        "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    },
}


@pytest.fixture
def models_file(tmp_path: Path, settings: Any) -> Path:
    text = Path(settings.BASE_DIR, "models.toml").read_text()
    path = tmp_path / "models.toml"
    path.write_text(text.replace("./demo_model/weights", "var/models/small"))
    settings.MODELS_FILE = path
    return path


def run_command(**options: object) -> str:
    output = io.StringIO()
    call_command("make_small_model", stdout=output, **options)
    return output.getvalue()


def test_it_has_the_classes_of_the_real_pipeline(small_model: Path) -> None:
    index = json.loads((small_model / "model_index.json").read_text())
    assert index["_class_name"] == "Flux2KleinPipeline"
    assert index["is_distilled"] is True
    assert index["transformer"] == ["diffusers", "Flux2Transformer2DModel"]
    assert index["vae"] == ["diffusers", "AutoencoderKLFlux2"]
    assert index["text_encoder"] == ["transformers", "Qwen3ForCausalLM"]
    assert index["tokenizer"][0] == "transformers"
    assert index["scheduler"] == ["diffusers", "FlowMatchEulerDiscreteScheduler"]


@pytest.mark.parametrize("adapter", CLASSES)
def test_the_one_of_another_family_is_of_its_classes_and_a_few_megabytes(
    adapter: str, tmp_path: Path
) -> None:
    assert tiny_build.make(tmp_path / adapter, adapter=adapter)
    index = json.loads((tmp_path / adapter / "model_index.json").read_text())
    assert {name: index[name] for name in CLASSES[adapter]} == CLASSES[adapter]
    assert sum(map(len, weights(tmp_path / adapter).values())) < 10_000_000


@pytest.mark.parametrize("adapter", tiny_build.ADAPTERS)
def test_it_is_the_same_every_time(adapter: str, tmp_path: Path) -> None:
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    assert tiny_build.make(tmp_path / "one", adapter=adapter)
    assert tiny_build.make(tmp_path / "again", adapter=adapter)
    assert weights(tmp_path / "again") == weights(tmp_path / "one")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_folder_that_is_there_is_left_alone(small_model: Path) -> None:
    before = weights(small_model)
    assert tiny_build.make(small_model) is False
    assert weights(small_model) == before


@pytest.mark.long
def test_many_processes_make_one_folder_and_leave_nothing_else(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        made = pool.map(tiny_build.make, [tmp_path / "small"] * 4, chunksize=1)
    assert sum(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_the_loser_of_a_race_keeps_the_winners_folder(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "small"
    build = tiny_build.build

    def lose_race(adapter: str) -> object:
        shutil.copytree(small_model, folder)
        return build(adapter)

    monkeypatch.setattr(tiny_build, "build", lose_race)
    assert tiny_build.make(folder) is False
    assert weights(folder) == weights(small_model)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_folder_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "letters.txt").write_text("dear")
    with pytest.raises(OSError, match="not empty"):
        tiny_build.make(tmp_path / "small")
    assert weights(tmp_path / "small") == {"letters.txt": b"dear"}
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_failure_leaves_no_half_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_family: str) -> object:
        raise OSError("no space left")

    monkeypatch.setattr(tiny_build, "build", broken)
    with pytest.raises(OSError, match="no space left"):
        tiny_build.make(tmp_path / "small")
    assert list(tmp_path.iterdir()) == []


def test_any_text_has_tokens() -> None:
    tokenizer = tiny_build.build("flux2-klein")[""].tokenizer
    for text in ("a fox", "лиса", "狐", "🦊", "\t\r\n", "é"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_command_makes_what_the_models_file_names(models_file: Path) -> None:
    assert "has been made at" in run_command()
    assert "is there already" in run_command()
    assert (models_file.parent / "var/models/small/model_index.json").is_file()


def test_the_command_makes_each_model_what_its_adapter_is(models_file: Path) -> None:
    text = models_file.read_text()
    other = text.replace("zekron-image-1", "xl").replace("flux2-klein", "stable-diffusion-xl")
    models_file.write_text(text + other.replace("var/models/small", "var/models/xl"))
    assert "has been made at" in run_command(model="xl")
    index = json.loads((models_file.parent / "var/models/xl/model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionXLPipeline"
    assert not (models_file.parent / "var/models/small").exists()


def test_the_small_pipeline_for_an_adapter_of_ones_own_can_be_named(models_file: Path) -> None:
    models_file.write_text(models_file.read_text().replace('"flux2-klein"', '"mine.adapter"'))
    with pytest.raises(
        CommandError, match=r"Unknown adapter 'mine.adapter'\. Allowed: flux2-klein, qwen-image"
    ):
        run_command()
    assert "has been made at" in run_command(family="qwen-image")


def test_a_model_that_is_not_in_the_file_is_told_in_one_line(models_file: Path) -> None:
    with pytest.raises(CommandError, match=r"Unknown model 'xl'\. Allowed: zekron-image-1"):
        run_command(model="xl")


def test_force_makes_it_again(models_file: Path) -> None:
    run_command()
    changed = models_file.parent / "var/models/small/scheduler/scheduler_config.json"
    changed.write_text("{}")
    assert "has been made at" in run_command(force=True)
    assert json.loads(changed.read_text())["shift"] == 2.0


def test_force_never_removes_weights_of_another_origin(models_file: Path) -> None:
    folder = models_file.parent / "var/models/small"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    with pytest.raises(CommandError, match="was not made by this command"):
        run_command(force=True)
    assert weights(folder) == {"model_index.json": b"{}"}


def test_a_hub_id_is_no_folder_to_make(models_file: Path) -> None:
    models_file.write_text(models_file.read_text().replace("var/models/small", "black-forest-labs/klein"))
    with pytest.raises(CommandError, match="names the hub id black-forest-labs/klein"):
        run_command()


def test_something_else_in_the_way_is_told_in_one_line(models_file: Path) -> None:
    folder = models_file.parent / "var/models/small"
    folder.mkdir(parents=True)
    (folder / "letters.txt").write_text("dear")
    with pytest.raises(CommandError, match="cannot be written"):
        run_command()


def test_a_broken_models_file_is_told_in_one_line(models_file: Path) -> None:
    models_file.write_text("[")
    with pytest.raises(CommandError, match="is not TOML"):
        run_command()
