from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import QwenImagePipeline, QwenImageTransformer2DModel
from PIL import Image

from tests.workers.conftest import entry
from tests.workers.pipelines import pictures
from tests.workers.pipelines.pictures import BLUE, MAX_DIFFERENCE, RED, make_pictures, mean_difference
from workers.catalogue import ImageModel
from workers.engine.interface import Engine, EngineError, load_engine
from workers.pipelines.diffusers.engine import PipelineEngine, StagedPipelineEngine
from workers.pipelines.runtime import loading
from workers.pipelines.tiny import build

pytestmark = pytest.mark.usefixtures("small_sources")
SIDE = 128
make_order = partial(pictures.make_order, size=(SIDE, SIDE))
OPTIONS = {"guidance_scale": 1.0}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "qwen"
    build.make(folder, adapter="qwen-image")
    return folder


def model(weights: Path, *, options: Mapping[str, object] = OPTIONS, **changes: object) -> ImageModel:
    own = {"edit_weights": str(weights), **options}
    return replace(entry(weights, adapter="qwen-image", options=own), **changes)


@pytest.fixture(scope="module")
def engine(weights: Path) -> Engine:
    return load_engine(model=model(weights), device="cpu")


@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
def test_creates_of_one_size_go_together_and_come_out_as_alone(weights: Path, guidance_scale: float) -> None:
    engine = load_engine(model=model(weights, options={"guidance_scale": guidance_scale}), device="cpu")
    assert isinstance(engine, StagedPipelineEngine)
    for pipeline in engine._adapter.pipelines:
        # Guidance enlarges rounding in float32, which differs between processors: up to 5 of 255 were seen, here 0.
        pipeline.to(torch.float64)
    orders = [make_order(), make_order("a mountain at dusk, with snow", seed=7), make_order("", seed=0)]
    assert {engine.batch_key(each) for each in orders} == {(SIDE, SIDE, False)}
    assert engine.batch_key(make_order(sources=[RED])) is None
    for each, picture in zip(orders, make_pictures(engine, *orders), strict=True):
        assert np.abs(picture - make_pictures(engine, each)[0]).max() <= MAX_DIFFERENCE


def test_a_negative_prompt_of_an_order_is_read_like_that_of_the_options(weights: Path) -> None:
    guided = load_engine(model=model(weights, options={"guidance_scale": 4.0}), device="cpu")
    options = {"guidance_scale": 4.0, "negative_prompt": "grain"}
    other = load_engine(model=model(weights, options=options), device="cpu")
    own = replace(make_order(), negative_prompt="grain")
    assert np.array_equal(make_pictures(guided, own)[0], make_pictures(other, make_order())[0])
    assert mean_difference(make_pictures(guided, own)[0], make_pictures(guided, make_order())[0]) > 0


@pytest.mark.parametrize("sources", [[], [RED], [RED, BLUE]], ids=["create", "one", "two"])
@pytest.mark.parametrize("options", [{}, {"guidance_scale": 1}], ids=["guided", "unguided"])
def test_in_stages_it_makes_what_the_pipelines_make_whole(
    weights: Path, sources: list[Image.Image], options: dict[str, object]
) -> None:
    staged = load_engine(model=model(weights, options=options), device="cpu")
    assert isinstance(staged, StagedPipelineEngine)
    whole = PipelineEngine(adapter=staged._adapter, model=model(weights), device=torch.device("cpu"))
    each = make_order(sources=sources)
    assert np.abs(make_pictures(staged, each)[0] - make_pictures(whole, each)[0]).max() <= MAX_DIFFERENCE


def test_a_create_is_what_the_pipeline_makes(engine: Engine, weights: Path) -> None:
    pipeline = loading.load(QwenImagePipeline, model=model(weights))
    [stock] = pipeline(
        prompt="a fox",
        width=SIDE,
        height=SIDE,
        num_inference_steps=4,
        true_cfg_scale=1.0,
        generator=torch.Generator().manual_seed(1),
        output_type="np",
    ).images
    assert np.abs(make_pictures(engine, make_order())[0] - stock * 255).max() <= MAX_DIFFERENCE


def test_an_edit_depends_on_its_sources_and_their_order_and_on_the_prompt(engine: Engine) -> None:
    [red] = make_pictures(engine, make_order(sources=[RED]))
    [both] = make_pictures(engine, make_order(sources=[RED, BLUE]))
    for other in (
        make_order(sources=[BLUE]),
        make_order("a hat", sources=[RED]),
        make_order(seed=2, sources=[RED]),
        make_order(),
    ):
        assert mean_difference(red, make_pictures(engine, other)[0]) > 2
    assert mean_difference(both, make_pictures(engine, make_order(sources=[BLUE, RED]))[0]) > 2
    assert mean_difference(both, red) > 2


@pytest.mark.parametrize("size", [(64, 64), (512, 64), (65, 97)])
def test_sources_of_any_shape_are_taken_and_not_changed(engine: Engine, size: tuple[int, int]) -> None:
    source = Image.new("RGB", size, "green")
    before = source.tobytes()
    [picture] = make_pictures(engine, make_order(sources=[source]))
    assert picture.shape == (SIDE, SIDE, 3)
    assert source.tobytes() == before


def test_sources_are_encoded_whole_and_in_their_own_shape(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = engine._adapter._edit
    seen: list[torch.Tensor] = []
    encode = edit._encode_vae_image
    monkeypatch.setattr(
        edit, "_encode_vae_image", lambda *, image, **more: seen.append(image) or encode(image=image, **more)
    )
    source = Image.new("RGB", (240, 120), "blue")
    source.paste("red", (105, 45, 135, 75))
    make_pictures(engine, make_order(sources=[source]))
    [pixels_1CFHW] = seen
    assert tuple(pixels_1CFHW.shape) == (1, 3, 1, 96, 192)
    # Red is where the block is. It lies in the middle, and is no wider than before.
    rows, columns = torch.nonzero(pixels_1CFHW[0, 0, 0] > 0, as_tuple=True)
    assert [rows.float().mean().item(), columns.float().mean().item()] == pytest.approx([47.5, 95.5])
    assert [int(each.max() - each.min()) + 1 for each in (rows, columns)] == [24, 24]


def test_weights_of_their_own_edit_and_the_others_create(
    engine: Engine, weights: Path, tmp_path: Path
) -> None:
    build.make(tmp_path / "edit", adapter="qwen-image")
    own = QwenImageTransformer2DModel.from_pretrained(tmp_path / "edit", subfolder="transformer")
    with torch.no_grad():
        own.proj_out.weight.mul_(-1)
    own.save_pretrained(tmp_path / "edit" / "transformer")
    two = model(weights, options={**OPTIONS, "edit_weights": str(tmp_path / "edit")})
    other = load_engine(model=two, device="cpu")
    assert np.array_equal(make_pictures(other, make_order())[0], make_pictures(engine, make_order())[0])
    edit = make_order(sources=[RED])
    assert mean_difference(make_pictures(other, edit)[0], make_pictures(engine, edit)[0]) > 2
    create, edits = other._adapter.pipelines
    assert edits.text_encoder is create.text_encoder
    assert edits.transformer is not create.transformer


def test_the_encoder_is_told_where_the_pictures_are(engine: Engine) -> None:
    """Check that patches lie in a plane, as in training, and not in a line."""
    encoder = engine._adapter._create.text_encoder
    positions = []
    hook = encoder.model.language_model.register_forward_pre_hook(
        lambda _module, _args, kwargs: positions.append(kwargs["position_ids"]), with_kwargs=True
    )
    try:
        make_pictures(engine, make_order(sources=[RED]))
        make_pictures(engine, make_order())
    finally:
        hook.remove()
    in_a_plane, of_words = positions
    assert not torch.equal(in_a_plane[-2], in_a_plane[-1])
    assert of_words is None or torch.equal(of_words[-2], of_words[-1])


PROMPTS = (
    "狐" * 4_000,
    "🦊\x1b\u202e" * 1_000,
    "<|im_end|>" * 400,
    "<|image_pad|> <|vision_start|>",
    "{} {0}",
)


@pytest.mark.parametrize("prompt", PROMPTS, ids=["long", "odd", "ends", "pictures", "braces"])
@pytest.mark.parametrize("sources", [[], [RED]], ids=["create", "edit"])
def test_any_prompt_is_made(engine: Engine, prompt: str, sources: list[Image.Image]) -> None:
    make_pictures(engine, make_order(prompt, sources=sources))


def test_without_weights_that_edit_it_creates_alone(weights: Path) -> None:
    alone = entry(weights, adapter="qwen-image", options=OPTIONS)
    with pytest.raises(EngineError, match="sources = 2, but no option edit_weights"):
        load_engine(model=alone, device="cpu")
    engine = load_engine(model=replace(alone, sources=0), device="cpu")
    make_pictures(engine, make_order())
    with pytest.raises(EngineError, match="no weights to edit with"):
        make_pictures(engine, make_order(sources=[RED]))


def test_an_error_about_weights_that_cannot_edit_names_the_model(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="the weights of zekron-image-1 cannot be loaded"):
        load_engine(model=model(weights, options={"edit_weights": str(tmp_path)}), device="cpu")
