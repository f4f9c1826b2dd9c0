from dataclasses import replace
from itertools import product

import pytest

from demo_model import vocabulary
from demo_model.captions import write_caption
from demo_model.config import WHOLE
from demo_model.networks import tokenize
from demo_model.painter.scene import COLOURS, PLACES, SUBJECTS, TIMES, WEATHERS, Scene, draw_scenes

SCENE = Scene(
    seed=1, subject_seed=1, time="night", place="forest", weather="fog", subject="cat", colour="blue"
)


def wordings(scene: Scene, count: int = 60) -> list[str]:
    return [write_caption(scene, seed=seed).text.lower() for seed in range(count)]


def test_a_seed_is_always_the_same_wording() -> None:
    assert wordings(SCENE) == wordings(SCENE)


def test_there_are_many_wordings_of_a_scene() -> None:
    assert len(set(wordings(SCENE))) > 50


@pytest.mark.parametrize("scene", draw_scenes(range(100)))
def test_a_whole_caption_names_what_the_scene_shows(scene: Scene) -> None:
    text = write_caption(scene, seed=scene.seed, complete=True).text.lower()
    for named, tables in (
        (scene.time, (vocabulary.TIME_AFTER, vocabulary.TIME_BEFORE, vocabulary.TIME_OVER)),
        (scene.place, (vocabulary.PLACE_AFTER, vocabulary.PLACE)),
        (scene.weather, (vocabulary.WEATHER_AFTER, vocabulary.WEATHER_BEFORE)),
        (scene.subject, (vocabulary.SUBJECT,)),
    ):
        if named in ("clear", "none"):
            continue
        phrases = [phrase for table in tables for phrase in table.get(named, ())]
        last_words = {phrase.lower().split()[-1] for phrase in phrases} | {named}
        assert any(word in text for word in last_words), (text, named)


def test_a_caption_says_no_more_than_it_claims() -> None:
    for seed in range(200):
        written = write_caption(SCENE, seed=seed)
        has_colour = any(word in written.text.lower() for word in vocabulary.COLOUR["blue"])
        assert has_colour == ("colour" in written.attributes), written


def test_every_attribute_is_said_in_some_wording_of_every_scene() -> None:
    for time, place in product(TIMES, PLACES):
        scene = replace(SCENE, time=time, place=place)
        said = [write_caption(scene, seed=seed).attributes for seed in range(40)]
        assert frozenset().union(*said) == {"time", "place", "weather", "subject", "colour"}
        assert any("time" not in each for each in said)


def test_words_exist_for_all_that_the_painter_knows() -> None:
    assert (
        set(vocabulary.TIME_AFTER) == set(vocabulary.TIME_BEFORE) == set(vocabulary.TIME_OVER) == set(TIMES)
    )
    assert set(vocabulary.PLACE) == set(vocabulary.PLACE_AFTER) == set(vocabulary.PLACE_MOODS) == set(PLACES)
    assert set(vocabulary.WEATHER_AFTER) == set(WEATHERS)
    assert set(vocabulary.SUBJECT) == set(vocabulary.SUBJECT_MOODS) == set(SUBJECTS) - {"none"}
    assert set(vocabulary.COLOUR) == set(COLOURS)


@pytest.mark.parametrize(
    "prompt",
    [
        "A serene mountain landscape at golden hour",
        "A futuristic city with flying cars at sunset",
        "A cute robot in a garden",
        "A sunset over the ocean",
        "A magical forest",
        "Add a rainbow in the sky",
        "Make it look like winter with snow",
        "Combine these two images: put the person from image 1 into the background of image 2",
    ],
)
def test_the_published_examples_are_made_of_whole_words(prompt: str) -> None:
    split = int((tokenize([prompt], WHOLE)[0] != 0).sum()) - 3
    # The numbers of the images and the colon are tokens too.
    assert split <= len(prompt.split()) + 4


def test_no_caption_is_cut_off() -> None:
    texts = [write_caption(scene, seed=scene.seed).text for scene in draw_scenes(range(400))]
    assert int((tokenize(texts, WHOLE) != 0).sum(1).max()) < 48
