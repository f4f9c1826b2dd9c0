"""Batches of scenes with their canvas. The painting functions ask a batch for colours in its light and for numbers."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch

from demo_model.painter import palette
from demo_model.painter.canvas import Canvas
from demo_model.painter.scene import COLOURS, TIMES, WEATHERS, Scene
from demo_model.painter.seeded_random import Floats, draw_uniform


class SceneBatch:
    """B scenes that are painted together."""

    def __init__(
        self,
        scenes: Sequence[Scene],
        pixels_BCHW: torch.Tensor,
        *,
        by: Literal["seed", "subject_seed"] = "seed",
    ) -> None:
        """Paint over the given pixels. Numbers are drawn by `seed` or by `subject_seed` of each scene."""
        self.scenes = list(scenes)
        self.canvas = Canvas(pixels_BCHW)
        self._by = by
        self.seeds_B = np.asarray([getattr(scene, by) for scene in scenes], dtype=np.uint64)
        self.time_B = palette.find_indexes([scene.time for scene in scenes], TIMES)
        self.weather_B = palette.find_indexes([scene.weather for scene in scenes], WEATHERS)
        self.colour_B = palette.find_indexes([scene.colour for scene in scenes], COLOURS)

    @property
    def count(self) -> int:
        """The number of scenes."""
        return len(self.scenes)

    @property
    def aspect(self) -> float:
        """The width of a picture whose height is 1."""
        return self.canvas.aspect

    def is_time(self, *names: str) -> Floats:
        """Return 1 for each scene at one of these times of day, else 0."""
        return np.asarray([scene.time in names for scene in self.scenes], dtype=np.float32)

    def is_weather(self, *names: str) -> Floats:
        """Return 1 for each scene in one of these weathers, else 0."""
        return np.asarray([scene.weather in names for scene in self.scenes], dtype=np.float32)

    def draw_numbers(self, name: str, *ranges: tuple[float, float]) -> list[Floats]:
        """Draw one number for each range and scene. The numbers depend only on the seed and the name."""
        drawn_BN = draw_uniform(self.seeds_B, name, len(ranges))
        return [low + drawn_BN[:, at] * np.float32(high - low) for at, (low, high) in enumerate(ranges)]

    def pick_by_time(self, colours: Floats) -> Floats:
        """Pick each scene's colour by its time of day, and dim it by its weather."""
        gloom, share = palette.GLOOM[self.weather_B], palette.GLOOM_SHARE[self.weather_B]
        light = colours[self.time_B]
        lamp = palette.LIGHT[self.time_B]
        # Clouds take some of the hour's colour out of the light.
        dimmed = gloom * palette.mix(lamp, lamp.mean(1, keepdims=True), 0.7)
        return palette.mix(light, dimmed, share)

    def repeat(self, code: str) -> Floats:
        """Return one colour for all scenes, whatever their light."""
        return np.repeat(palette.parse_colour(code)[None], self.count, axis=0)

    def light(self, colour: str | Floats, *, haze: float = 0.0) -> Floats:
        """Return a thing's colour in each scene's light. `haze` is 0 near the viewer and 1 at the farthest."""
        own = self.repeat(colour) if isinstance(colour, str) else colour
        light = palette.LIGHT[self.time_B]
        share = palette.GLOOM_SHARE[self.weather_B] * 0.55
        near = palette.mix(own * light, palette.GLOOM[self.weather_B] * light, share)
        far = self.pick_by_time(palette.HAZE)
        return palette.mix(near, far, np.clip(haze + 0.25 * haze * self.is_weather("fog"), 0, 1))

    def highlight(self, colour: Floats) -> Floats:
        """Return the colour of a subject, which has a little more light than the rest at night."""
        return palette.mix(self.light(colour), colour, 0.12 + 0.2 * self.is_time("night"))

    def add_snow(self, colour_B3: Floats, share: float, *, haze: float = 0.0) -> Floats:
        """Mix the colour with snow in the scenes where it snows."""
        white = palette.mix(self.light("#f4f8ff", haze=haze), self.repeat("#e6eefb"), 0.3)
        return palette.mix(colour_B3, white, share * self.is_weather("snow"))

    def use_subject_seeds(self) -> "SceneBatch":
        """Return a batch of the same scenes and pixels that draws numbers by `subject_seed`."""
        return SceneBatch(self.scenes, self.canvas.pixels_BCHW, by="subject_seed")

    def select(self, **wanted: str) -> Iterator["SceneBatch"]:
        """Yield a batch of the scenes with these attributes, if there are any.

        Its pixels are copied back when the caller asks for the next item.
        """
        chosen = [
            at
            for at, scene in enumerate(self.scenes)
            if all(getattr(scene, name) == value for name, value in wanted.items())
        ]
        if len(chosen) == self.count:
            yield self
        elif chosen:
            pixels_BCHW = self.canvas.pixels_BCHW
            at_B = torch.tensor(chosen, device=pixels_BCHW.device)
            part = SceneBatch([self.scenes[at] for at in chosen], pixels_BCHW[at_B], by=self._by)
            yield part
            pixels_BCHW[at_B] = part.canvas.pixels_BCHW
