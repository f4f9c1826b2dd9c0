from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinInpaintPipeline, Flux2KleinPipeline
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tests.workers.conftest import OPTIONS, entry
from tests.workers.pipelines.pictures import (
    BLUE,
    GREEN,
    MAX_DIFFERENCE,
    RED,
    SIDE,
    make_order,
    make_pictures,
    mean_difference,
)
from workers.engine.interface import BadOutput, DeviceLost, Engine, EngineError, ImageOrder, load_engine
from workers.imaging import letterbox
from workers.pipelines.flux2 import engine as flux2_engine
from workers.pipelines.flux2 import text_encoder
from workers.pipelines.runtime import loading


def make_stock(pipeline: Any, **options: Any) -> NDArray[np.int_]:
    """Return the picture that a pipeline of diffusers makes of `make_order()` with these options."""
    picture = pipeline(
        prompt="a fox",
        width=SIDE,
        height=SIDE,
        num_inference_steps=4,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(1),
        max_sequence_length=OPTIONS["max_sequence_length"],
        text_encoder_out_layers=tuple(OPTIONS["text_encoder_out_layers"]),
        **options,
    ).images[0]
    return np.asarray(picture).astype(int)


@pytest.mark.parametrize("size", [(512, 512), (1024, 1024), (1024, 768), (768, 1024)])
def test_every_published_size_comes_out(small_engine: Engine, size: tuple[int, int]) -> None:
    [picture] = make_pictures(small_engine, make_order(size=size))
    assert picture.shape == (size[1], size[0], 3)


def test_a_picture_is_colourful(small_engine: Engine) -> None:
    [picture] = make_pictures(small_engine, make_order())
    assert picture.std(axis=(0, 1)).min() > 20
    assert picture.std(axis=2).mean() > 20


def test_the_same_order_gives_the_same_picture(small_engine: Engine) -> None:
    assert np.array_equal(
        make_pictures(small_engine, make_order())[0], make_pictures(small_engine, make_order())[0]
    )


def test_prompt_and_seed_change_the_picture(small_engine: Engine) -> None:
    [picture] = make_pictures(small_engine, make_order())
    assert mean_difference(picture, make_pictures(small_engine, make_order("a mountain at dusk"))[0]) > 5
    assert mean_difference(picture, make_pictures(small_engine, make_order("a fix"))[0]) > 1
    assert mean_difference(picture, make_pictures(small_engine, make_order(seed=2))[0]) > 5


def test_a_picture_does_not_depend_on_its_batch(small_engine: Engine) -> None:
    orders = [
        make_order(),
        make_order("a mountain at dusk", seed=7),
        make_order(seed=2**63 - 1),
        make_order("", seed=0),
    ]
    together = make_pictures(small_engine, *orders)
    for each, picture in zip(orders, together, strict=True):
        assert np.abs(picture - make_pictures(small_engine, each)[0]).max() <= 2
    backwards = make_pictures(small_engine, *reversed(orders))[::-1]
    assert max(np.abs(a - b).max() for a, b in zip(together, backwards, strict=True)) <= 2


def test_an_edit_depends_on_its_sources_and_their_order(small_engine: Engine) -> None:
    [plain] = make_pictures(small_engine, make_order())
    [red] = make_pictures(small_engine, make_order(sources=[RED]))
    [blue] = make_pictures(small_engine, make_order(sources=[BLUE]))
    [both] = make_pictures(small_engine, make_order(sources=[RED, BLUE]))
    [swapped] = make_pictures(small_engine, make_order(sources=[BLUE, RED]))
    pictures = [plain, red, blue, both, swapped]
    differences = [mean_difference(a, b) for at, a in enumerate(pictures) for b in pictures[:at]]
    assert min(differences) > 0.5


@pytest.mark.parametrize(
    "size", [(64, 64), (512, 64), (64, 512), (65, 97), (2000, 1500), (2900, 363), (40, 20)]
)
def test_sources_of_any_size_are_fitted(small_engine: Engine, size: tuple[int, int]) -> None:
    [picture] = make_pictures(small_engine, make_order(sources=[Image.new("RGB", size, "green")]))
    assert picture.shape == (SIDE, SIDE, 3)


def test_a_model_that_learned_equal_shapes_gets_sources_in_the_ordered_size(small_model: Path) -> None:
    options = {**OPTIONS, "source_shape": "ordered"}
    engine = flux2_engine.load(model=entry(small_model, options=options), device="cpu")
    wide = Image.effect_noise((300, 100), 80).convert("RGB")
    order = make_order(sources=[wide, RED], size=(SIDE, 2 * SIDE))
    grid = (2 * SIDE // 32, SIDE // 32)
    assert engine.prepare([order]).tensors.layout == (grid, (grid, grid))
    fitted = [letterbox.fit(source, (SIDE, 2 * SIDE)) for source in order.sources]
    [expected] = make_pictures(engine, replace(order, sources=tuple(fitted)))
    assert np.abs(make_pictures(engine, order)[0] - expected).max() <= MAX_DIFFERENCE
    # A size of more than a megapixel is not scaled down, or positions would not agree.
    large = make_order(sources=[RED], size=(1536, 1536))
    assert engine.batch_key(large) == (1536, 1536, (48, 48))


def test_a_source_is_not_changed(small_engine: Engine) -> None:
    source = Image.new("RGB", (2000, 1000), "green")
    before = source.tobytes()
    make_pictures(small_engine, make_order(sources=[source]))
    assert (source.size, source.tobytes()) == ((2000, 1000), before)


def test_the_longest_prompt_of_any_script_is_made(small_engine: Engine) -> None:
    for prompt in ("狐" * 4_000, "🦊\x1b\u202e" * 1_000, "<|im_end|>" * 400, "{{ 7 * 7 }}{% raw %}"):
        make_pictures(small_engine, make_order(prompt))


def make_masked(seed: int, *, box: tuple[int, int, int, int], prompt: str = "a fox") -> ImageOrder:
    """Return an edit of noise that paints this box anew."""
    source = Image.merge("RGB", [Image.effect_noise((SIDE, SIDE), 60 + seed) for _ in range(3)])
    mask = Image.new("L", (SIDE, SIDE), 255)
    mask.paste(0, box)
    return replace(make_order(prompt, seed=seed, sources=[source]), mask=mask)


def test_a_masked_edit_is_what_the_pipeline_makes_of_the_same_order(
    small_model: Path, small_engine: Engine
) -> None:
    order = make_masked(1, box=(64, 32, 192, 128))
    assert order.mask is not None
    pipeline = loading.load(Flux2KleinInpaintPipeline, model=entry(small_model))
    inverted = ImageOps.invert(order.mask)
    stock = make_stock(pipeline, image=order.sources[0], mask_image=inverted, strength=1.0)
    [ours] = make_pictures(small_engine, order)
    assert np.abs(ours - stock).max() <= MAX_DIFFERENCE
    [unmasked] = make_pictures(small_engine, replace(order, mask=None))
    assert mean_difference(ours, unmasked) > 2


def test_masked_edits_go_together_and_come_out_as_alone(small_engine: Engine) -> None:
    orders = [
        make_masked(1, box=(64, 32, 192, 128)),
        make_masked(2, box=(0, 0, 40, SIDE), prompt="a boat"),
    ]
    assert small_engine.batch_key(orders[0]) == small_engine.batch_key(orders[1])
    assert small_engine.batch_key(orders[0]) != small_engine.batch_key(replace(orders[0], mask=None))
    for order, together in zip(orders, make_pictures(small_engine, *orders), strict=True):
        assert np.abs(together - make_pictures(small_engine, order)[0]).max() <= MAX_DIFFERENCE


def test_a_size_between_two_tokens_is_cut_from_a_larger_picture(small_model: Path) -> None:
    options = {**OPTIONS, "source_shape": "ordered"}
    engine = flux2_engine.load(model=entry(small_model, options=options), device="cpu")
    for sources in ([], [RED]):
        [picture] = make_pictures(engine, make_order(size=(240, 144), sources=sources))
        assert picture.shape == (144, 240, 3)


def test_a_picture_of_another_size_is_refused(small_engine: Engine) -> None:
    prepared = small_engine.prepare([make_order()])
    denoised = small_engine.denoise(prepared, on_step=lambda _done, _steps: None)
    other = denoised.tensors._replace(size=(300, 256))
    with pytest.raises(BadOutput, match=r"shape .* for the ordered 300x256"):
        small_engine.decode(denoised._replace(tensors=other))


def test_a_batch_of_two_sizes_is_refused(small_engine: Engine) -> None:
    with pytest.raises(ValueError, match="of one size"):
        make_pictures(small_engine, make_order(), make_order(size=(SIDE, 2 * SIDE)))


def test_an_edit_among_creates_is_refused(small_engine: Engine) -> None:
    with pytest.raises(ValueError, match="of the same sizes"):
        make_pictures(small_engine, make_order(), make_order(sources=[RED]))


def test_edits_of_different_sources_go_together_and_come_out_as_alone(small_engine: Engine) -> None:
    edits = [make_order(seed=1, sources=[RED, BLUE]), make_order("a boat", seed=2, sources=[BLUE, GREEN])]
    assert small_engine.batch_key(edits[0]) == small_engine.batch_key(edits[1])
    assert small_engine.batch_key(edits[0]) != small_engine.batch_key(make_order(sources=[RED]))
    for together, alone in zip(
        make_pictures(small_engine, *edits),
        [make_pictures(small_engine, edit)[0] for edit in edits],
        strict=True,
    ):
        assert np.abs(together - alone).max() <= MAX_DIFFERENCE


SOURCES = [[], [RED], [RED, BLUE], [Image.effect_noise((1500, 900), 80).convert("RGB")]]


@pytest.mark.parametrize("sources", SOURCES, ids=["create", "one", "two", "large"])
def test_a_picture_is_what_the_pipeline_makes_of_the_same_order(
    small_model: Path, small_engine: Engine, sources: list[Image.Image]
) -> None:
    pipeline = loading.load(Flux2KleinPipeline, model=entry(small_model))
    stock = make_stock(pipeline, image=sources or None)
    [ours] = make_pictures(small_engine, make_order(sources=sources))
    assert np.abs(ours - stock).max() <= MAX_DIFFERENCE


def test_layers_that_no_embedding_is_taken_from_are_left_out_and_nothing_changes(small_model: Path) -> None:
    options = {**OPTIONS, "text_encoder_out_layers": [0, 1, 2]}
    engine = flux2_engine.load(model=entry(small_model, options=options), device="cpu")
    assert len(engine._pipeline.text_encoder.model.layers) == 2
    whole = loading.load(Flux2KleinPipeline, model=entry(small_model))
    with_all = flux2_engine.Flux2Klein(pipeline=whole, model=entry(small_model, options=options))
    encoded = engine._prompt_encoder.encode(["a fox"]).text_BLD
    assert torch.equal(with_all._prompt_encoder.encode(["a fox"]).text_BLD, encoded)
    with torch.no_grad():
        expected, _ = whole.encode_prompt("a fox", max_sequence_length=256, text_encoder_out_layers=(0, 1, 2))
        told = engine._pipeline.transformer.context_embedder(expected)
        assert torch.allclose(encoded, told, atol=1e-5)


def test_a_prompt_or_source_that_comes_again_is_not_encoded_again(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = flux2_engine.load(model=entry(small_model), device="cpu")
    [first] = make_pictures(engine, make_order(sources=[RED, BLUE]))
    monkeypatch.delattr(text_encoder.PromptEncoder, "_encode_text")
    monkeypatch.delattr(flux2_engine.Flux2KleinPipeline, "_encode_vae_image")
    [again] = make_pictures(engine, make_order(sources=[RED.copy(), BLUE]))
    assert np.array_equal(first, again)


def test_an_error_about_missing_weights_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="make_small_model"):
        load_engine(model=entry(tmp_path / "none"), device="cpu")


def test_an_error_about_broken_weights_names_the_model(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(
        '{"_class_name": "Flux2KleinPipeline", "_diffusers_version": "0.42.1"}'
    )
    with pytest.raises(EngineError, match="the weights of zekron-image-1 cannot be loaded"):
        load_engine(model=entry(tmp_path), device="cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused(small_model: Path, device: str) -> None:
    with pytest.raises(EngineError, match=f"DEVICE is '{device}'"):
        load_engine(model=entry(small_model), device=device)


def test_the_layers_of_the_text_encoder_matter(small_model: Path, small_engine: Engine) -> None:
    other = replace(entry(small_model), options={**OPTIONS, "text_encoder_out_layers": [3, 2, 1]})
    engine = load_engine(model=other, device="cpu")
    assert (
        mean_difference(make_pictures(engine, make_order())[0], make_pictures(small_engine, make_order())[0])
        > 1
    )


def test_an_error_after_which_the_device_refuses_everything_is_a_lost_device(
    small_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def illegal_access(*_: object, **__: object) -> None:
        raise torch.AcceleratorError("an illegal memory access was encountered")

    monkeypatch.setattr(small_engine._pipeline.transformer.proj_out, "forward", illegal_access)
    with pytest.raises(torch.AcceleratorError):
        make_pictures(small_engine, make_order())
    monkeypatch.setattr(torch, "ones", illegal_access)
    with pytest.raises(DeviceLost):
        make_pictures(small_engine, make_order())


def test_eight_bit_products_change_a_picture_only_a_little(small_model: Path, small_engine: Engine) -> None:
    engine = load_engine(model=entry(small_model, options={**OPTIONS, "precision": "float8"}), device="cpu")
    [exact] = make_pictures(small_engine, make_order())
    [rounded] = make_pictures(engine, make_order())
    assert 0 < mean_difference(exact, rounded) < 8


def test_eight_bit_products_that_change_a_picture_much_are_refused(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flux2_engine, "MAX_FLOAT8_DIFFERENCE", 0.001)
    with pytest.raises(EngineError, match=r"cannot have precision = 'float8': it changes a picture by"):
        load_engine(model=entry(small_model, options={**OPTIONS, "precision": "float8"}), device="cpu")


def test_an_unknown_precision_is_refused(small_model: Path) -> None:
    with pytest.raises(EngineError, match="invalid option: precision = 'float4'"):
        load_engine(model=entry(small_model, options={**OPTIONS, "precision": "float4"}), device="cpu")


def test_a_batch_holds_fewer_orders_with_many_tokens(small_engine: Engine) -> None:
    assert isinstance(small_engine, flux2_engine.Flux2Klein)
    megapixel = Image.new("RGB", (1024, 1024))
    limits = [
        small_engine.limit_batch(each)
        for each in (
            make_order(size=(512, 512)),
            make_order(size=(1024, 1024)),
            make_order(size=(1024, 1024), sources=[megapixel]),
            make_order(size=(1024, 1024), sources=[megapixel, megapixel]),
        )
    ]
    assert limits == [4, 4, 2, 1]
