"""The adapter around diffusers' Flux2KleinPipeline: FLUX.2-klein, and the small pipeline of the same classes.

Knows torch and diffusers, and nothing of jobs, money or bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import Flux2KleinPipeline
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from transformers.utils import logging as transformers_logging

from workers.catalogue import ImageModel
from workers.engine import BadOutput, DeviceLost, EngineError, ImageOrder, StepCallback

# Distilled weights have guidance inside.
GUIDANCE_SCALE = 1.0
# The pipeline refuses a smaller source; a larger one than 1 MP it scales down itself.
LEAST_SOURCE_PIXELS = 64


class Flux2Klein:
    """An Engine on one device: creates of one size together, an edit alone."""

    def __init__(self, *, pipeline: Flux2KleinPipeline, model: ImageModel) -> None:
        """Takes a pipeline that is on its device already. Raises EngineError for options it does not know."""
        self._pipeline = pipeline
        self._steps = model.steps
        self._options = _options(model)
        self._batch_limit = model.batch_limit

    @property
    def batch_limit(self) -> int:
        """How many creates of one size `generate` takes at once."""
        return self._batch_limit

    def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
        """One RGB picture an order. Raises BadOutput, or what torch raises; may be called again after either."""
        first = orders[0]
        if len({(order.width, order.height) for order in orders}) > 1:
            raise ValueError("a batch is of one size")
        if len(orders) > 1 and any(order.sources for order in orders):
            raise ValueError("an edit is made alone: its sources would belong to the whole batch")

        def step_ended(
            _pipeline: object, step: int, _timestep: object, tensors: dict[str, Any]
        ) -> dict[str, Any]:
            on_step(step + 1, self._steps)
            return tensors

        with self._device_watched(), torch.inference_mode():
            pixels_BCHW = self._pipeline(
                prompt=[order.prompt for order in orders],
                image=[self._fitted(source) for source in first.sources] or None,
                width=first.width,
                height=first.height,
                num_inference_steps=self._steps,
                guidance_scale=GUIDANCE_SCALE,
                # On the CPU, and one an order: a seed gives its picture on any device, in any company.
                generator=[torch.Generator("cpu").manual_seed(order.seed) for order in orders],
                output_type="pt",
                callback_on_step_end=step_ended,
                callback_on_step_end_tensor_inputs=[],
                **self._options,
            ).images
            return _pictures(pixels_BCHW, expected=(len(orders), 3, first.height, first.width))

    @contextmanager
    def _device_watched(self) -> Iterator[None]:
        """Turns an error after which the device refuses even the least work into DeviceLost."""
        try:
            yield
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise
        except RuntimeError as problem:
            if _answers(self._pipeline.device):
                raise
            raise DeviceLost(str(problem)) from problem

    def _fitted(self, source: Image.Image) -> Image.Image:
        """Enlarged if the pipeline would refuse it, or cut it down to nothing to fit its tokens."""
        least_pixels = max(LEAST_SOURCE_PIXELS, 2 * self._pipeline.vae_scale_factor)
        short_pixels = min(source.size)
        if short_pixels >= least_pixels:
            return source
        width, height = (-(-side * least_pixels // short_pixels) for side in source.size)
        return source.resize((width, height), Image.Resampling.LANCZOS)


def load(*, model: ImageModel, device: str) -> Flux2Klein:
    """The model's engine on `device`: `auto` is the first GPU, or else the CPU. Raises EngineError."""
    target = _device(device)
    local = Path(model.weights).is_absolute()
    if local and not Path(model.weights, "model_index.json").is_file():
        raise EngineError(
            f"the model {model.name} has no weights at {model.weights}; `python manage.py make_small_model`"
            " makes a small model there, or name others in the models file"
        )
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipeline = Flux2KleinPipeline.from_pretrained(
            model.weights, dtype=getattr(torch, model.dtype), local_files_only=local
        )
    except (OSError, ValueError) as problem:
        raise EngineError(f"the weights of {model.name} cannot be loaded: {problem}") from problem
    pipeline.set_progress_bar_config(disable=True)
    return Flux2Klein(pipeline=pipeline.to(target), model=model)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise EngineError(f"DEVICE is {name!r}, not auto, cpu or cuda:0") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EngineError(f"DEVICE is {name!r}, and there is no such GPU")
    return device


def _answers(device: torch.device) -> bool:
    try:
        return float(torch.ones(1, device=device).sum().cpu()) == 1.0
    except RuntimeError:
        return False


def _options(model: ImageModel) -> Mapping[str, object]:
    """The pipeline's keywords from the model's options; the pipeline's own defaults for what is not said."""
    options: dict[str, object] = {}
    for name, value in model.options.items():
        if name == "max_sequence_length" and isinstance(value, int):
            options[name] = value
        elif name == "text_encoder_out_layers" and isinstance(value, list):
            options[name] = tuple(value)
        else:
            raise EngineError(
                f"the model {model.name} has an option that is unknown or unfit: {name} = {value!r}"
            )
    return options


def _pictures(pixels_BCHW: torch.Tensor, *, expected: tuple[int, ...]) -> list[Image.Image]:
    if tuple(pixels_BCHW.shape) != expected:
        raise BadOutput(f"the pipeline made {tuple(pixels_BCHW.shape)} of the ordered {expected}")
    if not bool(torch.isfinite(pixels_BCHW).all()):
        raise BadOutput("the pipeline made pixels that are no numbers")
    bytes_BHWC = (pixels_BCHW.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(picture) for picture in bytes_BHWC]
