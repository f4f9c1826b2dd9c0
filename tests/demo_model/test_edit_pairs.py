from dataclasses import asdict
from itertools import pairwise
from random import Random

import torch

from demo_model import vocabulary
from demo_model.edit_pairs import TO_TIME, TO_WEATHER, make_blend, make_edit
from demo_model.painter import paint
from demo_model.painter.scene import Scene, draw_scenes


def changed(one: Scene, other: Scene) -> set[str]:
    return {name for name, value in asdict(one).items() if value != asdict(other)[name]}


def test_an_edit_changes_one_thing_and_a_new_subject_brings_its_colour() -> None:
    seen = set()
    for scene in draw_scenes(range(400)):
        change = make_edit(scene, seed=scene.seed)
        assert change.sources == (scene,)
        what = changed(scene, change.target)
        assert what in ({"weather"}, {"time"}, {"place"}, {"colour"}, {"subject"}, {"subject", "colour"})
        seen |= what
    assert seen == {"weather", "time", "place", "colour", "subject"}


def test_an_instruction_names_what_becomes_different() -> None:
    for scene in draw_scenes(range(400)):
        change = make_edit(scene, seed=scene.seed)
        text = change.instruction.lower().removeprefix("please ")
        target, what = change.target, changed(scene, change.target)
        if what == {"weather"} and target.weather != "clear":
            assert text in [phrase.lower() for phrase in TO_WEATHER[target.weather]]
        elif what == {"time"}:
            assert text in [phrase.lower() for phrase in TO_TIME[target.time]]
        elif "subject" in what and target.subject != "none":
            assert any(noun in text for noun in vocabulary.SUBJECT[target.subject])


def test_a_blend_has_the_subject_of_the_first_and_all_else_of_the_second() -> None:
    drawn = [scene for scene in draw_scenes(range(60)) if scene.subject != "none"]
    for one, two in pairwise(drawn):
        made = make_blend(one, two, seed=one.seed)
        assert made.sources == (one, two)
        assert (made.target.subject, made.target.colour, made.target.subject_seed) == (
            one.subject,
            one.colour,
            one.subject_seed,
        )
        assert changed(two, made.target) <= {"subject", "colour", "subject_seed"}


def test_the_published_instructions_can_be_drawn() -> None:
    drawn = draw_scenes(range(3_000))
    said = {make_edit(scene, seed=scene.seed).instruction for scene in drawn}
    assert {"Add a rainbow in the sky", "Make it look like winter with snow", "Turn day into night"} <= said
    people = [scene for scene in drawn if scene.subject == "person"]
    blends = {make_blend(one, drawn[0], seed=one.seed).instruction for one in people}
    assert "Combine these two images: put the person from image 1 into the background of image 2" in blends


def test_the_pictures_of_an_edit_share_what_it_does_not_name() -> None:
    random = Random(0)
    for scene in random.sample(draw_scenes(range(200)), 12):
        change = make_edit(scene, seed=scene.seed)
        before, after = paint([scene], width=64, height=64), paint([change.target], width=64, height=64)
        share = float(((before - after).abs().amax(1) < 0.02).float().mean())
        if changed(scene, change.target) <= {"subject", "colour"}:
            assert share > 0.6
        assert not torch.equal(before, after)
