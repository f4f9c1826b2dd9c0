from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import QwenImagePipeline, QwenImageTransformer2DModel
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus
from PIL import Image

from tests.workers.conftest import entry
from tests.workers.pipelines.flux2.test_engine import BLUE, MAX_DIFFERENCE, RED, difference, made
from tests.workers.pipelines.flux2.test_engine import order as order_of
from workers.catalogue import ImageModel
from workers.engine.batcher import Batcher
from workers.engine.interface import BadOutput, Engine, EngineError, load_engine, make
from workers.pipelines.diffusers.engine import PipelineEngine, StagedPipelineEngine
from workers.pipelines.runtime import loading
from workers.pipelines.tiny import build

SIDE = 128
order = partial(order_of, size=(SIDE, SIDE))
OPTIONS = {"guidance_scale": 1.0}


@pytest.fixture(scope="module", autouse=True)
def small_sources():
    """The pipeline scales each source of an edit to a megapixel, which takes this CPU seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", SIDE * SIDE)
        yield


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


@pytest.mark.parametrize("size", [(256, 256), (256, 192), (192, 256)])
def test_every_shape_comes_out_in_colours(engine: Engine, size: tuple[int, int]) -> None:
    [picture] = made(engine, order(size=size))
    assert picture.shape == (size[1], size[0], 3)
    assert picture.std(axis=(0, 1)).min() > 10
    assert picture.std(axis=2).mean() > 10


def test_prompt_and_seed_change_the_picture_and_nothing_else_does(engine: Engine) -> None:
    [picture] = made(engine, order())
    assert np.array_equal(made(engine, order())[0], picture)
    assert difference(picture, made(engine, order("a fix"))[0]) > 2
    assert difference(picture, made(engine, order(seed=2))[0]) > 5


@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
def test_creates_of_one_size_go_together_and_come_out_as_alone(weights: Path, guidance_scale: float) -> None:
    engine = load_engine(model=model(weights, options={"guidance_scale": guidance_scale}), device="cpu")
    assert isinstance(engine, StagedPipelineEngine)
    for pipeline in engine._adapter.pipelines:
        # Guidance enlarges what float32 rounds, otherwise on each kind of processor: 5 of 255 were seen, and here 0.
        pipeline.to(torch.float64)
    orders = [order(), order("a mountain at dusk, with snow", seed=7), order("", seed=0)]
    assert {engine.batch_key(each) for each in orders} == {(SIDE, SIDE)}
    assert engine.batch_key(order(sources=[RED])) is None
    for each, picture in zip(orders, made(engine, *orders), strict=True):
        assert np.abs(picture - made(engine, each)[0]).max() <= MAX_DIFFERENCE


@pytest.mark.parametrize("sources", [[], [RED], [RED, BLUE]], ids=["create", "one", "two"])
@pytest.mark.parametrize("options", [{}, {"guidance_scale": 1}], ids=["guided", "unguided"])
def test_in_stages_it_makes_what_the_pipelines_make_whole(
    weights: Path, sources: list[Image.Image], options: dict[str, object]
) -> None:
    staged = load_engine(model=model(weights, options=options), device="cpu")
    assert isinstance(staged, StagedPipelineEngine)
    whole = PipelineEngine(adapter=staged._adapter, model=model(weights), device=torch.device("cpu"))
    each = order(sources=sources)
    assert np.abs(made(staged, each)[0] - made(whole, each)[0]).max() <= MAX_DIFFERENCE


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
    assert np.abs(made(engine, order())[0] - stock * 255).max() <= MAX_DIFFERENCE


def test_an_edit_depends_on_its_sources_and_their_order_and_on_the_prompt(engine: Engine) -> None:
    [red] = made(engine, order(sources=[RED]))
    [both] = made(engine, order(sources=[RED, BLUE]))
    for other in (
        order(sources=[BLUE]),
        order("a hat", sources=[RED]),
        order(seed=2, sources=[RED]),
        order(),
    ):
        assert difference(red, made(engine, other)[0]) > 2
    assert difference(both, made(engine, order(sources=[BLUE, RED]))[0]) > 2
    assert difference(both, red) > 2


@pytest.mark.parametrize("size", [(64, 64), (512, 64), (65, 97)])
def test_sources_of_any_shape_are_taken_and_not_changed(engine: Engine, size: tuple[int, int]) -> None:
    source = Image.new("RGB", size, "green")
    before = source.tobytes()
    [picture] = made(engine, order(sources=[source]))
    assert picture.shape == (SIDE, SIDE, 3)
    assert source.tobytes() == before


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
    assert np.array_equal(made(other, order())[0], made(engine, order())[0])
    edit = order(sources=[RED])
    assert difference(made(other, edit)[0], made(engine, edit)[0]) > 2
    create, edits = other._adapter.pipelines
    assert edits.text_encoder is create.text_encoder
    assert edits.transformer is not create.transformer


def test_the_encoder_is_told_where_the_pictures_are(engine: Engine) -> None:
    """In a plane and not in a line, or the weights do not see what they were trained to see."""
    encoder = engine._adapter._create.text_encoder
    positions = []
    hook = encoder.model.language_model.register_forward_pre_hook(
        lambda _module, _args, kwargs: positions.append(kwargs["position_ids"]), with_kwargs=True
    )
    try:
        made(engine, order(sources=[RED]))
        made(engine, order())
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
    made(engine, order(prompt, sources=sources))


def test_steps_are_reported_as_they_are_done(engine: Engine) -> None:
    for each in (order(), order(sources=[RED])):
        steps: list[tuple[int, int]] = []
        make(engine, [each], on_step=lambda done, all_: steps.append((done, all_)))  # noqa: B023 (called within)
        assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_batches_side_by_side_do_not_disturb_each_other(engine: Engine) -> None:
    orders = [
        order(str(n), seed=n, sources=[RED] * (n % 2), size=(SIDE, SIDE + 32 * (n % 3))) for n in range(6)
    ]
    batcher = Batcher(engine, max_queue_delay_seconds=0)
    try:
        futures = [batcher.submit(each) for each in orders]
        pictures = [future.result() for future in futures]
    finally:
        batcher.close()
    for each, picture in zip(orders, pictures, strict=True):
        assert np.abs(picture - made(engine, each)[0]).max() <= MAX_DIFFERENCE


def test_the_engine_is_usable_after_an_exception(engine: Engine) -> None:
    [before] = made(engine, order())

    def broken(_done: int, _steps: int) -> None:
        raise RuntimeError("in mid-step")

    with pytest.raises(RuntimeError, match="in mid-step"):
        make(engine, [order("other", sources=[RED])], on_step=broken)
    assert np.array_equal(made(engine, order())[0], before)


def test_pixels_that_are_no_numbers_are_refused(weights: Path) -> None:
    engine = load_engine(model=model(weights), device="cpu")
    with torch.no_grad():
        engine._adapter._create.transformer.proj_out.weight.fill_(float("nan"))
    with pytest.raises(BadOutput, match="no numbers"):
        made(engine, order())


def test_a_picture_of_another_size_is_refused(engine: Engine) -> None:
    denoised = engine.denoise(engine.prepare([order()]), on_step=lambda _done, _steps: None)
    with pytest.raises(BadOutput, match="of the ordered"):
        engine.decode(denoised._replace(shape=(2, 3, SIDE, SIDE)))


def test_bfloat16_makes_pictures_too(weights: Path) -> None:
    engine = load_engine(model=model(weights, dtype="bfloat16"), device="cpu")
    for each in (order(size=(64, 64)), order(size=(64, 64), sources=[RED])):
        assert made(engine, each)[0].std() > 5


def test_without_weights_that_edit_it_creates_alone(weights: Path) -> None:
    alone = entry(weights, adapter="qwen-image", options=OPTIONS)
    with pytest.raises(EngineError, match="sources = 2, and no option edit_weights"):
        load_engine(model=alone, device="cpu")
    engine = load_engine(model=replace(alone, sources=0), device="cpu")
    made(engine, order())
    with pytest.raises(EngineError, match="no weights to edit with"):
        made(engine, order(sources=[RED]))


def test_weights_that_cannot_edit_are_told_by_the_models_name(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="the weights of zekron-image-1 cannot be loaded"):
        load_engine(model=model(weights, options={"edit_weights": str(tmp_path)}), device="cpu")


@pytest.mark.parametrize("options", [{"strength": 1}, {"max_sequence_length": 2000}, {"edit_weights": 7}])
def test_an_option_that_is_unknown_or_unfit_is_refused(weights: Path, options: dict[str, object]) -> None:
    with pytest.raises(EngineError, match=f"unknown or unfit: {next(iter(options))} = "):
        load_engine(model=model(weights, options=options), device="cpu")
