"""Scenes beside the canvas they are painted on: who paints a part asks here for the light and for numbers."""

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
        """The pixels are painted over. Floats are drawn by the scenes' seeds, or by those of their figures."""
        self.scenes = list(scenes)
        self.canvas = Canvas(pixels_BCHW)
        self._by = by
        self.seeds_B = np.asarray([getattr(scene, by) for scene in scenes], dtype=np.uint64)
        self.time_B = palette.find_indexes([scene.time for scene in scenes], TIMES)
        self.weather_B = palette.find_indexes([scene.weather for scene in scenes], WEATHERS)
        self.colour_B = palette.find_indexes([scene.colour for scene in scenes], COLOURS)

    @property
    def count(self) -> int:
        """How many scenes there are."""
        return len(self.scenes)

    @property
    def aspect(self) -> float:
        """A picture's width, its height being 1."""
        return self.canvas.aspect

    def is_time(self, *names: str) -> Floats:
        """1 for each scene at one of these times of day, else 0."""
        return np.asarray([scene.time in names for scene in self.scenes], dtype=np.float32)

    def is_weather(self, *names: str) -> Floats:
        """1 for each scene in such weather, else 0."""
        return np.asarray([scene.weather in names for scene in self.scenes], dtype=np.float32)

    def draw_numbers(self, name: str, *ranges: tuple[float, float]) -> list[Floats]:
        """For each range a number a scene; they depend on the seed and on the name alone."""
        drawn_BN = draw_uniform(self.seeds_B, name, len(ranges))
        return [low + drawn_BN[:, at] * np.float32(high - low) for at, (low, high) in enumerate(ranges)]

    def pick_by_time(self, colours: Floats) -> Floats:
        """Each scene's colour of those that are given for the times of day, in its weather."""
        gloom, share = palette.GLOOM[self.weather_B], palette.GLOOM_SHARE[self.weather_B]
        light = colours[self.time_B]
        lamp = palette.LIGHT[self.time_B]
        # Under clouds the light has less of its hour's colour.
        dimmed = gloom * palette.mix(lamp, lamp.mean(1, keepdims=True), 0.7)
        return palette.mix(light, dimmed, share)

    def repeat(self, code: str) -> Floats:
        """One colour for all, whatever the light."""
        return np.repeat(palette.parse_colour(code)[None], self.count, axis=0)

    def light(self, colour: str | Floats, *, haze: float = 0.0) -> Floats:
        """A thing's colour in the scene's light, at a distance: 0 is near, 1 is lost in the haze."""
        own = self.repeat(colour) if isinstance(colour, str) else colour
        light = palette.LIGHT[self.time_B]
        share = palette.GLOOM_SHARE[self.weather_B] * 0.55
        near = palette.mix(own * light, palette.GLOOM[self.weather_B] * light, share)
        far = self.pick_by_time(palette.HAZE)
        return palette.mix(near, far, np.clip(haze + 0.25 * haze * self.is_weather("fog"), 0, 1))

    def highlight(self, colour: Floats) -> Floats:
        """The colour of what matters in the picture: at night it is lit a little more than the rest."""
        return palette.mix(self.light(colour), colour, 0.12 + 0.2 * self.is_time("night"))

    def add_snow(self, colour_B3: Floats, share: float, *, haze: float = 0.0) -> Floats:
        """The colour with snow on it, where it snows."""
        white = palette.mix(self.light("#f4f8ff", haze=haze), self.repeat("#e6eefb"), 0.3)
        return palette.mix(colour_B3, white, share * self.is_weather("snow"))

    def use_subject_seeds(self) -> "SceneBatch":
        """The same scenes and pixels, with numbers that depend on the figures."""
        return SceneBatch(self.scenes, self.canvas.pixels_BCHW, by="subject_seed")

    def select(self, **wanted: str) -> Iterator["SceneBatch"]:
        """The scenes with these properties, if any, on an batch of their own; their pixels come back afterwards."""
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
