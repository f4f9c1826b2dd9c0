"""The contract of every adapter's engine, on its small pipeline."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.workers.conftest import OPTIONS as FLUX2_OPTIONS
from tests.workers.conftest import entry
from tests.workers.pipelines import pictures
from tests.workers.pipelines.pictures import (
    MAX_DIFFERENCE,
    RED,
    make_pictures,
    make_pictures_in_batcher,
    mean_difference,
    run_stages,
)
from workers.catalogue import ImageModel
from workers.engine.interface import BadOutput, Engine, EngineError, PromptTokens, load_engine
from workers.pipelines.tiny import build

pytestmark = [
    pytest.mark.usefixtures("small_sources"),
    # diffusers causes it when it sets a schedule.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
SIDE = 128
make_order = partial(pictures.make_order, size=(SIDE, SIDE))


@dataclass(frozen=True, kw_only=True)
class Case:
    """An adapter, and the numbers in which its small pipeline differs from the others."""

    adapter: str
    find_last_weights: Callable[[Any], torch.Tensor]
    options: Mapping[str, object] = field(default_factory=dict)
    sources: int = 1
    # Of 255. Grain, one letter of the prompt and the precision show differently in each of the pipelines.
    min_deviation: float = 20
    min_deviation_in_bfloat16: float = 10
    min_difference_of_a_letter: float
    edit_step_count: int = 4
    # In tokens, each of which is a letter in the small pipelines.
    longest_prompt: int

    def describe(self, folder: Path) -> ImageModel:
        """Return the models file's entry for the weights in this folder."""
        options = dict(self.options)
        if self.adapter == "qwen-image":
            options["edit_weights"] = str(folder)
        return entry(folder, adapter=self.adapter, options=options, sources=self.sources)


CASES = (
    Case(
        adapter="flux2-klein",
        find_last_weights=lambda engine: engine._pipeline.transformer.proj_out.weight,
        options=FLUX2_OPTIONS,
        min_difference_of_a_letter=1,
        # The template begins with one token.
        longest_prompt=255,
    ),
    Case(
        adapter="qwen-image",
        find_last_weights=lambda engine: engine._adapter._create.transformer.proj_out.weight,
        options={"guidance_scale": 1.0},
        min_deviation=10,
        min_deviation_in_bfloat16=5,
        min_difference_of_a_letter=2,
        longest_prompt=512,
    ),
    Case(
        adapter="stable-diffusion-xl",
        find_last_weights=lambda engine: engine._adapter._create.unet.conv_out.weight,
        min_difference_of_a_letter=5,
        # With a strength of 0.6, an edit begins at the third of four steps.
        edit_step_count=2,
        longest_prompt=75,
    ),
)
INVALID_OPTIONS = {
    "flux2-klein": [
        {"max_sequence_lenght": 64},
        {"max_sequence_length": "64"},
        {"steps": 4},
        {"compile": True},
        {"compile": ["1024"]},
        {"compile": "1024x1024"},
        {"attention": 1},
        {"text_encoder_out_layers": []},
        {"text_encoder_out_layers": [1, 2, -1]},
    ],
    "qwen-image": [{"strength": 1}, {"max_sequence_length": 2000}, {"edit_weights": 7}],
    "stable-diffusion-xl": [
        {"guidance": 5},
        {"guidance_scale": "5"},
        {"guidance_scale": True},
        {"strength": 0},
        {"compile": ["1024"]},
        {"attention": "native"},
    ],
}


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.adapter)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="module")
def model(case: Case, tmp_path_factory: pytest.TempPathFactory) -> ImageModel:
    folder = tmp_path_factory.mktemp("models") / case.adapter
    build.make(folder, adapter=case.adapter)
    return case.describe(folder)


@pytest.fixture(scope="module")
def engine(model: ImageModel) -> Engine:
    """Return the engine that every test may use and must leave usable."""
    return load_engine(model=model, device="cpu")


def test_it_tells_its_batch_limit_its_device_and_how_long_it_worked(engine: Any) -> None:
    assert (engine.batch_limit, engine.device_name) == (4, "cpu")
    before = engine.busy_seconds
    make_pictures(engine, make_order())
    assert engine.busy_seconds > before


@pytest.mark.parametrize("size", [(256, 256), (256, 192), (192, 256)])
def test_every_shape_comes_out_in_colours(case: Case, engine: Engine, size: tuple[int, int]) -> None:
    [picture] = make_pictures(engine, make_order(size=size))
    assert picture.shape == (size[1], size[0], 3)
    assert picture.std(axis=(0, 1)).min() > case.min_deviation
    assert picture.std(axis=2).mean() > case.min_deviation


def test_prompt_and_seed_change_the_picture_and_nothing_else_does(case: Case, engine: Engine) -> None:
    [picture] = make_pictures(engine, make_order())
    assert np.array_equal(make_pictures(engine, make_order())[0], picture)
    [other] = make_pictures(engine, make_order("a fix"))
    assert mean_difference(picture, other) > case.min_difference_of_a_letter
    assert mean_difference(picture, make_pictures(engine, make_order(seed=2))[0]) > 5


def test_an_order_is_told_how_many_tokens_of_its_prompt_are_read(case: Case, engine: Engine) -> None:
    longest = case.longest_prompt
    # In the second round, the engine has encoded the prompts already.
    for length in [1, longest, longest + 1, 1000] * 2:
        told: list[PromptTokens] = []
        engine.prepare([replace(make_order("x" * length), on_prompt_read=told.append)])
        assert told == [(min(length, longest), length)]
    foxes: list[PromptTokens] = []
    engine.prepare([replace(make_order("\U0001f98a" * 1000), on_prompt_read=foxes.append)])
    assert [(tokens.read, tokens.are_cut) for tokens in foxes] == [(longest, True)]


def test_steps_are_reported_as_they_are_done(case: Case, engine: Engine) -> None:
    for orders, step_count in (
        ([make_order(), make_order(seed=2)], 4),
        ([make_order(sources=[RED])], case.edit_step_count),
    ):
        steps: list[tuple[int, int]] = []
        run_stages(engine, orders, on_step=lambda done, total: steps.append((done, total)))  # noqa: B023 (called within)
        assert steps == [(done, step_count) for done in range(1, step_count + 1)]


def test_batches_side_by_side_do_not_disturb_each_other(engine: Engine) -> None:
    orders = [
        make_order(str(n), seed=n, sources=[RED] * (n % 2), size=(SIDE, SIDE + 32 * (n % 3)))
        for n in range(6)
    ]
    made = make_pictures_in_batcher(engine, orders, max_queue_delay_seconds=0)
    for order, picture in zip(orders, made, strict=True):
        assert np.abs(picture - make_pictures(engine, order)[0]).max() <= MAX_DIFFERENCE


@pytest.mark.parametrize("failing_step", [1, 2])
def test_the_engine_is_usable_after_an_exception(engine: Engine, failing_step: int) -> None:
    [before] = make_pictures(engine, make_order())

    def fail(done: int, _steps: int) -> None:
        if done == failing_step:
            raise RuntimeError("in mid-step")

    with pytest.raises(RuntimeError, match="in mid-step"):
        run_stages(engine, [make_order("other", sources=[RED])], on_step=fail)
    assert np.array_equal(make_pictures(engine, make_order())[0], before)


def test_pixels_that_are_not_numbers_are_refused(case: Case, model: ImageModel) -> None:
    engine = load_engine(model=model, device="cpu")
    with torch.no_grad():
        case.find_last_weights(engine).fill_(float("nan"))
    with pytest.raises(BadOutput, match="not finite numbers"):
        make_pictures(engine, make_order())


def test_bfloat16_makes_pictures_too(case: Case, model: ImageModel) -> None:
    engine = load_engine(model=replace(model, dtype="bfloat16"), device="auto")
    for order in (make_order(size=(64, 64)), make_order(size=(64, 64), sources=[RED])):
        assert make_pictures(engine, order)[0].std() > case.min_deviation_in_bfloat16


def test_an_option_that_is_unknown_or_invalid_is_refused(case: Case, model: ImageModel) -> None:
    for options in INVALID_OPTIONS[case.adapter]:
        [(name, value)] = options.items()
        with pytest.raises(EngineError) as refusal:
            load_engine(model=replace(model, options={**model.options, **options}), device="cpu")
        assert f"unknown or invalid option: {name} = {value!r}" in str(refusal.value)
