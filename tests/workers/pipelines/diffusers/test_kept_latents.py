"""The kept latents after each step, which are where a model that knows the source would bring them."""

from typing import Any

import diffusers
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from tests.workers.pipelines.pictures import make_order
from workers.pipelines.diffusers import kept_latents
from workers.pipelines.diffusers.kept_latents import KeptLatents
from workers.pipelines.diffusers.latent_tokens import StableDiffusionXLTokens

# diffusers causes it when it sets a schedule.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
STEPS = 5
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CONFIGS: dict[str, dict[str, Any]] = {
    "FlowMatchEulerDiscreteScheduler": {"shift": 3.0},
    "EulerDiscreteScheduler": BETAS,
    # It ends at a picture without noise, as the others do.
    "DDIMScheduler": {**BETAS, "clip_sample": False, "set_alpha_to_one": True},
    "DPMSolverMultistepScheduler": BETAS,
}


def draw(seed: int) -> torch.Tensor:
    return torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("skipped", [0, 2])
@pytest.mark.parametrize("counts_steps", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_they_have_the_noise_that_the_step_leaves(name: str, counts_steps: bool, skipped: int) -> None:
    scheduler = getattr(diffusers, name)(**CONFIGS[name])
    scheduler.set_timesteps(STEPS)
    if counts_steps and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    source, noise = draw(1), draw(2)
    is_flow = hasattr(scheduler, "scale_noise")
    timesteps = scheduler.timesteps[skipped:]
    if is_flow:
        latents = scheduler.scale_noise(source, timesteps[:1], noise)
    else:
        latents = scheduler.add_noise(source, noise, timesteps[:1])
    kept = KeptLatents(source=source, is_kept=torch.tensor(True), noise=noise)
    for done, time in enumerate(timesteps, start=1):
        scheduler.is_scale_input_called = True
        output = noise - source if is_flow else noise
        [latents] = scheduler.step(output, time, latents, return_dict=False)[:1]
        expected = kept.put_back(
            torch.zeros_like(latents), scheduler=scheduler, done=done, step_count=len(timesteps)
        )
        torch.testing.assert_close(latents, expected, rtol=1e-3, atol=2e-3)
    torch.testing.assert_close(latents, source, rtol=1e-3, atol=2e-3)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
def test_between_the_halves_of_a_step_nothing_is_put_back() -> None:
    scheduler = diffusers.KDPM2DiscreteScheduler(**BETAS)
    scheduler.set_timesteps(STEPS)
    source, noise = draw(1), draw(2)
    kept = KeptLatents(source=source, is_kept=torch.tensor(True), noise=noise)
    times = scheduler.timesteps
    latents = scheduler.add_noise(source, noise, times[:1])
    for done, time in enumerate(times, start=1):
        scheduler.scale_model_input(latents, time)
        [latents] = scheduler.step(noise, time, latents, return_dict=False)[:1]
        kept_latents_ = kept.put_back(latents, scheduler=scheduler, done=done, step_count=len(times))
        torch.testing.assert_close(latents, kept_latents_, rtol=1e-3, atol=2e-3)
        latents = kept_latents_
    torch.testing.assert_close(latents, source, rtol=1e-3, atol=2e-3)


def test_what_is_not_kept_stays_as_the_step_left_it_in_its_precision() -> None:
    scheduler = diffusers.EulerDiscreteScheduler(**BETAS)
    scheduler.set_timesteps(STEPS)
    is_kept = torch.zeros((1, 1, 8, 8), dtype=torch.bool)
    is_kept[..., :3] = True
    kept = KeptLatents(source=draw(1), is_kept=is_kept, noise=draw(2))
    latents = draw(3).to(torch.bfloat16)
    put_back = kept.put_back(latents, scheduler=scheduler, done=STEPS, step_count=STEPS)
    assert put_back.dtype == torch.bfloat16
    assert torch.equal(put_back[..., 3:], latents[..., 3:])
    assert torch.equal(put_back[..., :3], draw(1).to(torch.bfloat16)[..., :3])


class Pipeline:
    """The parts of a pipeline that its tokens look at."""

    vae_scale_factor = 8


def test_a_vae_that_overflows_in_half_precision_encodes_in_single() -> None:
    vae = AutoencoderKL(force_upcast=True, block_out_channels=(4,), norm_num_groups=4).to(torch.float16)
    seen: list[torch.dtype] = []
    vae.encoder.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].dtype))
    pixels = torch.zeros((1, 3, 16, 16), dtype=torch.float16)
    with torch.inference_mode():
        latents = StableDiffusionXLTokens(Pipeline()).encode(vae, pixels)
    assert (seen, latents.dtype, vae.dtype) == ([torch.float32], torch.float32, torch.float16)


def test_an_order_without_a_mask_keeps_nothing() -> None:
    order = make_order(sources=[Image.new("RGB", (64, 64))])
    assert kept_latents.encode(order, tokens=None, device=None) is None
