"""The contract of previews and masks of every pipeline that diffusers runs."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.workers.conftest import OPTIONS as FLUX2_OPTIONS
from tests.workers.conftest import entry
from tests.workers.pipelines import pictures
from tests.workers.pipelines.offloading import load_offloaded
from tests.workers.pipelines.pictures import (
    MAX_DIFFERENCE,
    RED,
    make_pictures,
    mean_difference,
    measure_likeness,
    run_stages,
)
from workers.catalogue import ImageModel
from workers.engine.interface import Engine, ImageOrder, Picture, Preview, load_engine
from workers.pipelines.diffusers.pipeline_previews import PipelinePreviews
from workers.pipelines.tiny import build

pytestmark = [
    pytest.mark.usefixtures("small_sources"),
    # diffusers causes it when it sets a schedule.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
SIZE = (256, 192)
make_order = partial(pictures.make_order, size=SIZE)
# Of 1. The small pipelines' last previews come to 0.74 and more, and pictures of two prompts to 0.4 at most.
MIN_LIKENESS = 0.65
MIN_GAIN = 0.25
SOURCE = Image.merge("RGB", [Image.effect_noise(SIZE, 60 + channel) for channel in range(3)])
# An adapter and its offload mode.
CASES = [
    ("flux2-klein", "model"),
    ("qwen-image", None),
    ("qwen-image", "sequential"),
    ("stable-diffusion-xl", None),
    ("stable-diffusion-xl", "model"),
]
# With a strength of 0.6, an edit of Stable Diffusion XL begins at the third of four steps.
STEPS_OF_EDITS = {"stable-diffusion-xl": [(0, 1)]}
STEPS = [(0, 1), (1, 2), (2, 3)]


class DrawnEncoder(nn.Module):
    """A VAE's encoder whose latents are noise, so that the fit sees every direction of them."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self._channels, self._factor = channels, factor

    def forward(self, pixels: torch.Tensor, **_: object) -> torch.Tensor:
        """Return mean and deviation of the latents, larger than the fit's ridge."""
        height, width = (side // self._factor for side in pixels.shape[-2:])
        shape = (*pixels.shape[:1], 2 * self._channels, *pixels.shape[2:-2], height, width)
        # Other pixels give other noise, and the same pixels the same.
        return 8 * torch.randn(shape, generator=torch.Generator().manual_seed(int(1e6 * pixels.abs().sum())))


class LinearDecoder(nn.Module):
    """A VAE's decoder that a linear map can imitate. Those of the small pipelines paint blobs of many tokens."""

    def __init__(self, channels: int, factor: int, gain: float) -> None:
        super().__init__()
        self._factor = factor
        weights = torch.randn((3, channels), generator=torch.Generator().manual_seed(1))
        self._weights = nn.Parameter(weights * gain / channels**0.5, requires_grad=False)

    def forward(self, latents: torch.Tensor, **_: object) -> torch.Tensor:
        """Return pixels from -1 to 1, one colour for each latent."""
        colours = torch.einsum("pc,bc...->bp...", self._weights.to(latents), latents)
        return colours.repeat_interleave(self._factor, -1).repeat_interleave(self._factor, -2)


def load(adapter: str, offload: str | None, folder: Any) -> Engine:
    build.make(folder, adapter=adapter)
    options: dict[str, object] = {}
    if adapter == "flux2-klein":
        options = dict(FLUX2_OPTIONS)
    if adapter == "qwen-image":
        options = {"edit_weights": str(folder), "guidance_scale": 1.0}
    model: ImageModel = entry(folder, adapter=adapter, options=options, sources=1)
    return load_offloaded(model, offload) if offload else load_engine(model=model, device="cpu")


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> tuple[str, str | None]:
    return request.param


@pytest.fixture(scope="module")
def engine(case: tuple[str, str | None], tmp_path_factory: pytest.TempPathFactory, whole_fit: None) -> Engine:
    """Load a small pipeline with a VAE whose previews can be exact."""
    fit = PipelinePreviews.fit

    def exchange(previews: PipelinePreviews) -> None:
        vae: Any = previews._tokens.vae
        channels = vae.config.get("latent_channels") or vae.config.z_dim
        factor = previews._tokens._pipeline.vae_scale_factor
        vae.encoder = DrawnEncoder(channels, factor)
        vae.decoder = LinearDecoder(channels, factor, 0.5 * vae.config.get("scaling_factor", 1.0))
        fit(previews)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PipelinePreviews, "fit", exchange)
        return load(*case, tmp_path_factory.mktemp("models") / "linear")


def make(engine: Engine, *orders: ImageOrder) -> tuple[list[Picture], list[list[Preview]]]:
    """Make one batch with three previews each."""
    got: list[list[Preview]] = [[] for _ in orders]
    wanted = [
        replace(each, preview_count=3, on_preview=previews.append)
        for each, previews in zip(orders, got, strict=True)
    ]
    return run_stages(engine, wanted, on_step=lambda _done, _steps: None), got


def list_numbers(previews: Sequence[Preview]) -> list[tuple[int, int]]:
    return [(preview.number, preview.step) for preview in previews]


def test_previews_come_ever_closer_to_their_own_picture(engine: Engine) -> None:
    made, got = make(engine, make_order(), make_order("a boat at dusk", seed=9))
    for index, previews in enumerate(got):
        assert list_numbers(previews) == STEPS
        rendered = [preview.render() for preview in previews]
        for picture in rendered:
            assert picture.dtype == np.uint8
            assert picture.shape == (SIZE[1] // 4, SIZE[0] // 4, 3)
        first, *_, last = (measure_likeness(picture, made[index]) for picture in rendered)
        assert last > MIN_LIKENESS
        assert last > first
        assert last > measure_likeness(rendered[-1], made[1 - index]) + MIN_GAIN
        # Colours are as strong as the picture's, which a wrong scale of the latents would change.
        assert rendered[-1].std() == pytest.approx(made[index].std(), rel=0.4)


def test_the_previews_of_an_edit_resemble_it(case: tuple[str, str | None], engine: Engine) -> None:
    [picture], [previews] = make(engine, make_order(sources=[RED]))
    assert list_numbers(previews) == STEPS_OF_EDITS.get(case[0], STEPS)
    assert measure_likeness(previews[-1].render(), picture) > MIN_LIKENESS


@pytest.mark.parametrize("sources", [[], [RED]], ids=["create", "edit"])
def test_the_picture_is_the_same_with_previews_and_without(engine: Engine, sources: list[Any]) -> None:
    order = make_order(sources=sources)
    [plain] = run_stages(engine, [order], on_step=lambda _done, _steps: None)
    [made], [previews] = make(engine, order)
    assert previews
    assert np.array_equal(plain, made)


def test_an_order_without_previews_beside_one_with_them_gets_none(engine: Engine) -> None:
    got: list[Preview] = []
    without = replace(make_order(), on_preview=lambda _: pytest.fail("it asked for none"))
    with_one = replace(make_order("a boat", seed=2), preview_count=1, on_preview=got.append)
    run_stages(engine, [without, with_one], on_step=lambda _done, _steps: None)
    assert list_numbers(got) == [(0, 2)]


def make_masked(*, box: tuple[int, int, int, int], prompt: str = "a fox", seed: int = 1) -> ImageOrder:
    """Return an edit that paints this box anew."""
    mask = Image.new("L", SIZE, 255)
    mask.paste(0, box)
    return replace(make_order(prompt, sources=[SOURCE], seed=seed), mask=mask)


def reconstruct(engine: Any) -> np.ndarray[Any, Any]:
    """Return the source as the VAE shows it, with signed values."""
    tokens = engine._adapter.latent_tokens
    pixels_HWC = torch.from_numpy(np.array(SOURCE, dtype=np.float32)) / (255 / 2) - 1
    with torch.inference_mode():
        pixels_1CHW = pixels_HWC.permute(2, 0, 1)[None].contiguous().to(tokens.vae.dtype)
        _, decoded_HWC = tokens.reconstruct(tokens.vae, pixels_1CHW)
    return decoded_HWC.round().int().numpy()


def test_a_mask_keeps_the_source_outside_of_it_and_paints_inside(engine: Engine) -> None:
    source = reconstruct(engine)
    [picture] = make_pictures(engine, make_masked(box=(64, 32, 160, 96)))
    is_painted = np.zeros(source.shape[:2], dtype=bool)
    is_painted[32:96, 64:160] = True
    assert np.abs(picture - source)[~is_painted].max() <= MAX_DIFFERENCE
    assert mean_difference(picture[is_painted], source[is_painted]) > 10


def test_prompt_and_seed_change_what_a_mask_leaves_to_be_painted(engine: Engine) -> None:
    box = (64, 32, 160, 96)
    [picture] = make_pictures(engine, make_masked(box=box))
    assert np.array_equal(make_pictures(engine, make_masked(box=box))[0], picture)
    for other in (make_masked(box=box, prompt="a boat at dusk"), make_masked(box=box, seed=2)):
        assert mean_difference(picture[32:96, 64:160], make_pictures(engine, other)[0][32:96, 64:160]) > 1


def test_what_is_painted_depends_on_what_is_kept(engine: Engine) -> None:
    narrow, wide = (96, 64, 128, 96), (0, 64, 256, 96)
    pictures_made = [make_pictures(engine, make_masked(box=box))[0] for box in (narrow, wide)]
    beside_kept, beside_painted = (picture[64:96, 96:128] for picture in pictures_made)
    assert mean_difference(beside_kept, beside_painted) > 0.5


def test_a_create_after_a_masked_edit_is_as_before(engine: Engine) -> None:
    [before] = make_pictures(engine, make_order())
    make_pictures(engine, make_masked(box=(0, 0, 64, 64)))
    assert np.array_equal(make_pictures(engine, make_order())[0], before)
