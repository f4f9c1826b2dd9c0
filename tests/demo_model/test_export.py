from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont

from demo_model import contact_sheet
from demo_model.config import PROMPT_TOKENS, STEPS, TINY
from demo_model.inference import InferencePipeline
from demo_model.train import adapt, export
from demo_model.train.dataset import decode_scaled
from demo_model.train.run import TrainingRun
from demo_model.train.sampling import sample_latents
from tests.engines import make
from tests.workers.conftest import entry
from workers.engine.interface import Engine, ImageOrder, load_engine

pytestmark = pytest.mark.long

SIZE = (128, 64)
OPTIONS = {"max_sequence_length": PROMPT_TOKENS, "text_encoder_out_layers": [1, 2, 3]}


@pytest.fixture(scope="module")
def engine(exported: Path) -> Engine:
    from dataclasses import replace  # noqa: PLC0415

    return load_engine(model=replace(entry(exported, options=OPTIONS), steps=STEPS), device="cpu")


def painted(engine: Engine, prompt: str, sources: tuple[Image.Image, ...] = (), seed: int = 1) -> np.ndarray:
    order = ImageOrder(prompt=prompt, width=SIZE[0], height=SIZE[1], seed=seed, sources=sources)
    [picture] = make(engine, [order], on_step=lambda _done, _steps: None)
    return picture.astype(int)


def test_the_worker_s_adapter_loads_the_exported_folder(engine: Engine) -> None:
    picture = painted(engine, "A cute robot in a garden")
    assert picture.shape == (SIZE[1], SIZE[0], 3)
    source = Image.new("RGB", (96, 96), "green")
    assert not np.array_equal(painted(engine, "make it night", (source,)), painted(engine, "make it night"))


def test_the_adapter_generates_the_latents_that_training_samples(
    engine: Engine, exported: Path, trained: TrainingRun
) -> None:
    from demo_model.networks import tokenize  # noqa: PLC0415
    from demo_model.train import autoencoder  # noqa: PLC0415

    flow, vae = adapt.load_served(trained).half().float(), autoencoder.load_trained(trained).half().float()
    shape = (1, 4 * TINY.latent_channels, SIZE[1] // TINY.patch_pixels, SIZE[0] // TINY.patch_pixels)
    noise_BCHW = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        latents_BCHW = sample_latents(flow, tokenize(["A cute robot in a garden"], TINY), noise_BCHW)
        pixels = (decode_scaled(vae, latents_BCHW)[0].permute(1, 2, 0) * 255).round().numpy()
    assert np.abs(painted(engine, "A cute robot in a garden") - pixels).max() <= 2


def test_the_inference_pipeline_generates_the_adapter_s_pictures(engine: Engine, exported: Path) -> None:
    [picture] = InferencePipeline(exported, "cpu").generate(["A magical forest"], size=SIZE, first_seed=5)
    assert np.abs(np.asarray(picture).astype(int) - painted(engine, "A magical forest", seed=5)).max() <= 2


def test_the_exported_weights_are_in_half_precision_and_stay_as_they_are(
    exported: Path, trained: TrainingRun
) -> None:
    names = {path.parent.name for path in exported.rglob("*.safetensors")}
    assert names == {"vae", "text_encoder", "transformer"}
    with pytest.raises(FileExistsError):
        export.export(trained, exported)


def test_the_sheet_shows_prompts_edits_and_a_blend(exported: Path) -> None:
    pictures = contact_sheet.generate_pictures(InferencePipeline(exported, "cpu"), side=64, seed=1)
    assert len(pictures) == len(contact_sheet.PROMPTS) + len(contact_sheet.EDITS) + 3
    assert [picture.caption.split(". ")[1] for picture in pictures[:12]] == list(contact_sheet.PROMPTS)
    assert pictures[12].caption == "Edit of 1: Add a rainbow in the sky"
    assert pictures[-1].caption == contact_sheet.BLEND[1]
    assert not np.array_equal(np.asarray(pictures[0].picture), np.asarray(pictures[12].picture))


def test_every_cell_of_the_sheet_has_a_picture_and_a_caption() -> None:
    side, margin = 256, 8
    count = len(contact_sheet.PROMPTS) + len(contact_sheet.EDITS) + 3
    grey = Image.new("RGB", (8, 8), "grey")
    pictures = [contact_sheet.CaptionedPicture(f"Picture {number}", grey) for number in range(count)]
    sheet = np.asarray(contact_sheet.lay_out(pictures, side=side).convert("L"))[margin:, margin:]
    rows, in_last_row = divmod(count, contact_sheet.COLUMNS)
    assert in_last_row == 0
    for row in np.split(sheet, rows):
        for cell in np.split(row, contact_sheet.COLUMNS, axis=1):
            assert (cell[:side, :side] == 128).all()
            assert cell[side:].min() < 128


def test_a_caption_is_wrapped_into_lines_that_fit() -> None:
    font = ImageFont.load_default(size=14)
    lines = list(contact_sheet.wrap(contact_sheet.BLEND[1], font, width=256))
    assert " ".join(lines) == contact_sheet.BLEND[1]
    assert 1 < len(lines) <= contact_sheet.CAPTION_LINES
    assert all(font.getlength(line) <= 256 for line in lines)
