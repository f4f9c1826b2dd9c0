"""The clean latents that a step of a pipeline heads for: the guess of the finished picture, without its noise.

A pipeline's public callback has the latents after a step, but neither those before it nor the model's output. The
scheduler gets both. Noisy latents are the sum of signal * clean and noise * noise, in any scheduler's terms.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final

import torch

# What a scheduler's model predicts, by diffusers' names. Schedulers of flow matching have no such entry.
FLOW: Final = "flow_prediction"
VELOCITY: Final = "v_prediction"
NOISE: Final = "epsilon"
CLEAN: Final = ("sample", "original_sample")


class LastStep:
    """The clean latents of the last step that is due, or None."""

    latents: torch.Tensor | None = None


@contextmanager
def watch_steps(scheduler: Any, *, is_due: Callable[[int], bool]) -> Iterator[LastStep]:
    """Keep the clean latents of each due step of the block, and change no step. `is_due` gets the steps done.

    Only one thread may use the scheduler meanwhile.
    """
    step, last, done = scheduler.step, LastStep(), 0

    @wraps(step)
    def watched(
        model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        nonlocal done
        done += 1
        # A scheduler counts its steps, so it must be asked for the noise of this one before it takes it.
        last.latents = predict_clean(scheduler, model_output, timestep, sample) if is_due(done) else None
        return step(model_output, timestep, sample, *args, **kwargs)

    # The instance's own attribute hides the method of its class.
    scheduler.step = watched
    try:
        yield last
    finally:
        del scheduler.step


def predict_clean(
    scheduler: Any, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor
) -> torch.Tensor:
    """Return what the model predicts for these noisy latents at a step that the scheduler has not taken yet."""
    output, noisy = model_output.float(), sample.float()
    signal, noise = find_shares(scheduler, timestep, like=noisy)
    if hasattr(scheduler, "precondition_outputs"):
        # Schedulers after Karras et al. 2022 (EDM) weigh the output by the noise.
        clean: torch.Tensor = scheduler.precondition_outputs(noisy, output, noise)
        return clean
    prediction = scheduler.config.get("prediction_type", FLOW)
    if prediction in CLEAN:
        return output
    if prediction == NOISE:
        return (noisy - noise * output) / signal
    if prediction == VELOCITY:
        # Salimans and Ho 2022, appendix D, for shares whose squares may not sum to 1.
        length = (signal**2 + noise**2).sqrt()
        return (signal * noisy / length - noise * output) / length
    return noisy - noise * output


def find_shares(scheduler: Any, timestep: Any, *, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the shares of signal and noise at a step, by adding noise to a blank picture and to nothing.

    A scheduler that counts its steps tells those of the step that it takes next, whatever `timestep` says.
    """
    one = torch.ones((1,) * like.ndim, device=like.device)
    zero = torch.zeros_like(one)
    times = torch.as_tensor(timestep, device=like.device).reshape(1)
    if hasattr(scheduler, "scale_noise"):
        return scheduler.scale_noise(one, times, zero), scheduler.scale_noise(zero, times, one)
    return scheduler.add_noise(one, zero, times), scheduler.add_noise(zero, one, times)
