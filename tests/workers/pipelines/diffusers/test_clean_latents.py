"""The clean latents that a step heads for, which are those that the schedulers themselves return."""

from typing import Any

import diffusers
import pytest
import torch

from workers.pipelines.diffusers.clean_latents import watch_steps

# diffusers causes it when it sets a schedule.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
STEPS = 5
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CONFIGS: dict[str, dict[str, Any]] = {
    "EulerDiscreteScheduler": BETAS,
    "EulerAncestralDiscreteScheduler": BETAS,
    "DDIMScheduler": {**BETAS, "clip_sample": False},
    "LCMScheduler": BETAS,
    "EDMEulerScheduler": {},
}
KINDS = [
    *((name, kind) for name in CONFIGS for kind in ("epsilon", "v_prediction")),
    ("EulerDiscreteScheduler", "sample"),
]


def draw(seed: int) -> torch.Tensor:
    return torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(seed))


def make(name: str, **config: Any) -> Any:
    scheduler = getattr(diffusers, name)(**config)
    scheduler.set_timesteps(STEPS)
    return scheduler


def step(scheduler: Any, latents: torch.Tensor, number: int) -> tuple[torch.Tensor, ...]:
    """Take a step with an output that means nothing."""
    time = scheduler.timesteps[number]
    if hasattr(scheduler, "scale_model_input"):
        scheduler.scale_model_input(latents, time)
    torch.manual_seed(number)
    result: tuple[torch.Tensor, ...] = scheduler.step(draw(number), time, latents, return_dict=False)
    return result


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_they_are_what_the_scheduler_itself_predicts(name: str, kind: str) -> None:
    scheduler = make(name, prediction_type=kind, **CONFIGS[name])
    latents = draw(99) * scheduler.init_noise_sigma
    with watch_steps(scheduler, is_due=lambda _done: True) as last:
        for number in range(STEPS):
            latents, expected = step(scheduler, latents, number)
            assert last.latents is not None
            torch.testing.assert_close(last.latents, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["FlowMatchEulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_a_model_that_knows_the_picture_heads_for_it_at_every_step(name: str) -> None:
    is_flow = name.startswith("Flow")
    scheduler = make(name, **({} if is_flow else BETAS))
    picture, noise = draw(1), draw(2)
    latents = noise
    with watch_steps(scheduler, is_due=lambda _done: True) as last:
        for time in scheduler.timesteps:
            if is_flow:
                output = noise - picture
            else:
                signal, share = scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas[scheduler.step_index or 0])
                output = (latents - signal * picture) / share
            [latents] = scheduler.step(output, time, latents, return_dict=False)
            assert last.latents is not None
            torch.testing.assert_close(last.latents, picture, rtol=1e-3, atol=1e-3)


def test_watching_changes_no_step_and_keeps_what_is_due() -> None:
    plain, watched = (make("EulerAncestralDiscreteScheduler", **BETAS) for _ in range(2))
    one = other = draw(3)
    with watch_steps(watched, is_due=lambda done: done == 2) as last:
        for number in range(STEPS):
            one, other = step(plain, one, number)[0], step(watched, other, number)[0]
            assert torch.equal(one, other)
            assert (last.latents is not None) == (number == 1)


def test_watching_ends_with_the_block_even_after_an_error() -> None:
    scheduler = make("EulerDiscreteScheduler", **BETAS)
    with pytest.raises(RuntimeError, match="in mid-step"), watch_steps(scheduler, is_due=lambda _: True):
        raise RuntimeError("in mid-step")
    assert "step" not in vars(scheduler)
