from dataclasses import replace
from itertools import product

import pytest
import torch

from demo_model.painter import paint
from demo_model.painter.scene import PLACES, SUBJECTS, TIMES, WEATHERS, Scene, draw_scenes
from demo_model.painter.subjects import GRID_LINES

SIDE = 64
SCENE = Scene(
    seed=7, subject_seed=7, time="noon", place="garden", weather="clear", subject="robot", colour="red"
)


def painted(*shown: Scene, size: tuple[int, int] = (SIDE, SIDE)) -> torch.Tensor:
    return paint(shown, width=size[0], height=size[1])


def difference(one: Scene, other: Scene) -> torch.Tensor:
    """Return the difference of each pixel, of shape (SIDE, SIDE)."""
    return (painted(one) - painted(other)).abs().amax(dim=(0, 1))


def test_a_seed_is_always_the_same_scene_and_a_scene_the_same_picture() -> None:
    assert draw_scenes([1, 2, 3]) == draw_scenes([1, 2, 3])
    drawn = draw_scenes(range(8))
    assert torch.equal(painted(*drawn), painted(*drawn))


def test_a_picture_does_not_depend_on_its_batch() -> None:
    drawn = draw_scenes(range(12))
    together = painted(*drawn)
    alone = torch.cat([painted(scene) for scene in drawn])
    # A shape is not painted outside its bounds, and the bounds are those of the whole batch.
    assert float((together - alone).abs().mean()) < 1e-4
    assert float((together - alone).abs().max()) < 0.1


def test_another_seed_is_another_picture() -> None:
    assert float(difference(SCENE, replace(SCENE, seed=8)).mean()) > 0.01


@pytest.mark.parametrize(("place", "weather"), list(product(PLACES, WEATHERS)))
def test_every_scene_can_be_painted_in_colours_from_0_to_1(place: str, weather: str) -> None:
    shown = [
        replace(SCENE, seed=at, place=place, weather=weather, subject=subject, time=TIMES[at % len(TIMES)])
        for at, subject in enumerate(SUBJECTS)
    ]
    pixels = painted(*shown, size=(48, 32))
    assert pixels.shape == (len(SUBJECTS), 3, 32, 48)
    assert bool(torch.isfinite(pixels).all())
    assert 0 <= float(pixels.min()) <= float(pixels.max()) <= 1
    assert float(pixels.std(dim=(1, 2, 3)).min()) > 0.02


def test_the_published_sizes_show_the_same_scene() -> None:
    square = painted(SCENE, size=(64, 64))
    large = painted(SCENE, size=(128, 128))
    assert painted(SCENE, size=(128, 96)).shape == (1, 3, 96, 128)
    smaller = torch.nn.functional.avg_pool2d(large, 2)
    assert float((smaller - square).abs().mean()) < 0.01


def test_night_is_darker_than_noon() -> None:
    assert float(painted(replace(SCENE, time="night")).mean()) < 0.6 * float(painted(SCENE).mean())


def test_a_subject_changes_what_is_before_the_place_and_leaves_the_sky() -> None:
    change = difference(SCENE, replace(SCENE, subject="none"))
    assert float(change.max()) > 0.2
    assert float(change[: SIDE // 4].max()) == 0


def test_a_colour_changes_the_subject_alone() -> None:
    recoloured = difference(SCENE, replace(SCENE, colour="blue"))
    removed = difference(SCENE, replace(SCENE, subject="none"))
    assert float(recoloured.max()) > 0.2
    assert bool((recoloured[removed == 0] == 0).all())


def test_a_rainbow_stays_in_the_sky() -> None:
    change = difference(SCENE, replace(SCENE, weather="rainbow"))
    assert float(change[: SIDE // 2].max()) > 0.1
    assert float(change[int(SIDE * 0.8) :].max()) < 0.02


def test_a_subject_looks_the_same_before_another_background() -> None:
    person = replace(SCENE, subject="person", place="city", subject_seed=3)
    elsewhere = replace(person, seed=99)
    without = [painted(replace(scene, subject="none")) for scene in (person, elsewhere)]
    is_person = [
        (painted(scene) - bare).abs().amax(dim=(0, 1)) > 0.25
        for scene, bare in zip((person, elsewhere), without, strict=True)
    ]
    both = is_person[0] & is_person[1]
    assert int(both.sum()) > 40
    assert float((painted(person) - painted(elsewhere)).abs().amax(dim=(0, 1))[both].median()) < 0.02


def test_every_subject_stands_in_the_middle_on_the_lines_of_a_grid() -> None:
    side, line = 256, 256 // GRID_LINES
    for seed in range(8):
        with_it = painted(replace(SCENE, place="desert", subject_seed=seed), size=(side, side))
        without = painted(
            replace(SCENE, place="desert", subject_seed=seed, subject="none"), size=(side, side)
        )
        changes = (with_it - without).abs().amax(dim=(0, 1)).gt(0.1)
        columns, rows = (changes.any(dim=at).nonzero() for at in (0, 1))
        assert int(columns.min() + columns.max()) + 1 == side
        # The robot's feet end on a line. Its shadow reaches a little further.
        assert abs(int(rows.max()) + 1 - 14 * line) <= line // 2


@pytest.mark.parametrize("time", TIMES)
def test_the_peaks_stand_in_one_place_with_bright_snow_and_a_dark_side(time: str) -> None:
    shown = [
        replace(SCENE, seed=seed, place="mountains", subject="none", time=time) for seed in range(20, 24)
    ]
    lightness_BHW = painted(*shown, size=(256, 256)).mean(1)
    snow_B, shaded_snow_B, lit_B, dark_B = (
        lightness_BHW[:, y, x] for x, y in ((84, 64), (74, 68), (118, 150), (60, 150))
    )
    for each_B in (snow_B, shaded_snow_B, lit_B, dark_B):
        assert float(each_B.max() - each_B.min()) < 0.01
    assert float(snow_B[0]) > float(shaded_snow_B[0]) + 0.1
    assert float(shaded_snow_B[0]) > float(lit_B[0]) + 0.1
    assert float(lit_B[0]) > float(dark_B[0]) + 0.05
