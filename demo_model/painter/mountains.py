"""Mountains: two high peaks before a farther range, with snow on their tops."""

from typing import Final, NamedTuple

from demo_model.painter import palette
from demo_model.painter.canvas import make_gradient
from demo_model.painter.scene_batch import SceneBatch
from demo_model.painter.seeded_random import Floats
from demo_model.painter.shapes import Shape, polygon, union


class Peak(NamedTuple):
    """The top of a peak and half the width of its foot, as shares of a picture's width and height."""

    x: float
    top: float
    half_width: float


# Every picture has these peaks, on the lines that the subjects stand on. The model learns a shape that is always in one
# place, and blurs one that may be anywhere. The middle is low, because the subject stands there.
FAR_RANGE: Final = (
    Peak(x=0 / 16, top=6 / 16, half_width=5 / 16),
    Peak(x=8 / 16, top=5.5 / 16, half_width=5 / 16),
    Peak(x=16 / 16, top=5.5 / 16, half_width=5 / 16),
)
NEAR_RANGE: Final = (
    Peak(x=12 / 16, top=5 / 16, half_width=6 / 16),
    Peak(x=5 / 16, top=3 / 16, half_width=7 / 16),
)
# The line between the light side and the dark side leans by this share of the foot's half width.
LEAN: Final = 0.2
# Snow covers this share of a peak's height, and more of it while it snows.
SNOW_SHARE: Final = 0.22
EXTRA_SNOW: Final = 0.2
# The snow's lower edge has two teeth on each side. A corner lies at a share of the way from the line between light and
# dark to the outline, and at a share of the way from the edge up to the top.
TEETH: Final = (((0.0, 0.25), (0.2, 0.0), (0.5, 0.25)), ((0.5, 0.25), (0.8, 0.0), (1.0, 0.1)))


def paint_range(batch: SceneBatch, peaks: tuple[Peak, ...], *, foot: float, rock: str, haze: float) -> None:
    """Paint a range of peaks that are lit from the right, in the given order."""
    lit = batch.add_snow(batch.light(rock, haze=haze), 0.35, haze=haze)
    dark = palette.mix(lit, batch.light("#1d2038", haze=haze), 0.55)
    # Snow in the light is brighter than the sky at every time of day.
    snow = palette.mix(batch.light("#fdfdff", haze=haze * 0.6), batch.repeat("#ffffff"), 0.35 * (1 - haze))
    shaded_snow = palette.mix(snow, batch.light("#6f7fb8", haze=haze), 0.5)
    part = SNOW_SHARE + EXTRA_SNOW * batch.is_weather("snow")
    for peak in peaks:
        x, half = peak.x * batch.aspect, peak.half_width * batch.aspect
        inner = x + LEAN * half
        edge = peak.top + (foot - peak.top) * part
        canvas = batch.canvas
        for side, tone in ((x + half, lit), (x - half, dark)):
            canvas.draw(
                _face(x, peak.top, side, inner, foot),
                make_gradient(tone, palette.mix(tone, dark, 0.4), start=peak.top, end=foot),
            )
        for side, tone in ((x + half, snow), (x - half, shaded_snow)):
            canvas.draw(_cap(x, peak.top, x + (side - x) * part, x + (inner - x) * part, edge), tone)


def _face(x: float, top: float, side: float, inner: float, foot: float) -> Shape:
    """Return one side of a peak, from its outline to the line between light and dark."""
    left, right = sorted((side, inner))
    return polygon((x, top), (right, foot), (left, foot))


def _cap(x: float, top: float, side: Floats, inner: Floats, edge: Floats) -> Shape:
    """Return the snow on one side of a peak, from its outline to the line between light and dark."""
    teeth = []
    for tooth in TEETH:
        corners = [(inner + (side - inner) * along, edge - rise * (edge - top)) for along, rise in tooth]
        if bool((side > inner).all()):
            corners.reverse()
        teeth.append(polygon((x, top), *corners))
    return union(*teeth)
