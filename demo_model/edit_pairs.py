"""Examples of editing: one or two source scenes, a target scene, and an instruction in words."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from demo_model import vocabulary
from demo_model.captions import describe_subject
from demo_model.painter.scene import COLOURS, PLACES, SUBJECTS, TIMES, USUAL_COLOURS, WEATHERS, Scene


@dataclass(frozen=True, kw_only=True)
class Edit:
    """The source scenes, the target scene, and the instruction that leads from one to the other."""

    sources: tuple[Scene, ...]
    target: Scene
    instruction: str


TO_WEATHER: Final[vocabulary.Phrases] = {
    "clear": ("make the weather fine", "make the sky clear", "let the weather be good"),
    "snow": (
        "make it look like winter with snow",
        "make it winter",
        "let it snow",
        "add snow",
        "cover everything with snow",
        "turn it into a winter scene",
        "make it snowy",
    ),
    "fog": ("add fog", "make it foggy", "let there be mist", "cover it in fog", "make it misty"),
    "rain": ("let it rain", "make it rain", "add rain", "make it a rainy day", "make it stormy"),
    "rainbow": (
        "add a rainbow in the sky",
        "add a rainbow",
        "put a rainbow in the sky",
        "draw a rainbow above",
        "I want a rainbow",
    ),
    "magical lights": (
        "add magical lights",
        "make it magical",
        "add fireflies",
        "make it look enchanted",
        "add glowing lights",
        "add sparkles",
    ),
}
FROM_WEATHER: Final[vocabulary.Phrases] = {
    "snow": ("remove the snow", "no more snow", "make it summer"),
    "fog": ("remove the fog", "lift the fog", "no more mist"),
    "rain": ("stop the rain", "remove the rain", "no more rain"),
    "rainbow": ("remove the rainbow", "take the rainbow away"),
    "magical lights": ("remove the lights", "take the magical lights away"),
}
TO_TIME: Final[vocabulary.Phrases] = {
    "dawn": ("make it dawn", "make it sunrise", "change the time to early morning", "turn it into a sunrise"),
    "noon": (
        "make it day",
        "turn night into day",
        "make it a bright day",
        "change the time to noon",
        "make it sunny",
    ),
    "golden hour": ("make it golden hour", "give it golden light", "change the light to golden hour"),
    "sunset": (
        "make it sunset",
        "turn it into a sunset",
        "change the time to sunset",
        "make it evening",
        "add a sunset",
    ),
    "night": (
        "turn day into night",
        "make it night",
        "change it to night",
        "make it dark with stars",
        "make it midnight",
    ),
}


def make_edit(scene: Scene, *, seed: int) -> Edit:
    """Change one attribute of the scene. The seed decides which one, and what it becomes."""
    random = Random(seed)  # noqa: S311 - a choice of edits is no secret
    changes: tuple[Callable[[Scene, Random], Edit], ...] = (
        _change_weather,
        _change_weather,
        _change_time,
        _change_time,
        _change_subject,
        _change_colour,
        _change_place,
    )
    return _vary_wording(random.choice(changes)(scene, random), random)


def make_blend(subject: Scene, background: Scene, *, seed: int) -> Edit:
    """Put the first scene's subject into the second scene. The first scene must have a subject."""
    random = Random(seed)  # noqa: S311 - a choice of words is no secret
    target = replace(
        background, subject=subject.subject, colour=subject.colour, subject_seed=subject.subject_seed
    )
    noun = random.choice((*vocabulary.SUBJECT[subject.subject], "subject", "figure"))
    instruction = random.choice(
        (
            f"combine these two images: put the {noun} from image 1 into the background of image 2",
            f"put the {noun} from image 1 into the background of image 2",
            f"put the {noun} of the first image into the second image",
            f"place the {noun} from image 1 in image 2",
            f"the {noun} of image 1 before the scene of image 2",
            f"use image 2 as the background for the {noun} in image 1",
            "combine these two images",
        )
    )
    return _vary_wording(Edit(sources=(subject, background), target=target, instruction=instruction), random)


def _change_weather(scene: Scene, random: Random) -> Edit:
    weather = _choose_other(WEATHERS, scene.weather, random)
    phrases = TO_WEATHER[weather]
    if weather == "clear":
        phrases += FROM_WEATHER[scene.weather]
    return _make_single_source_edit(scene, replace(scene, weather=weather), random.choice(phrases))


def _change_time(scene: Scene, random: Random) -> Edit:
    time = _choose_other(TIMES, scene.time, random)
    return _make_single_source_edit(scene, replace(scene, time=time), random.choice(TO_TIME[time]))


def _change_subject(scene: Scene, random: Random) -> Edit:
    subject = _choose_other(SUBJECTS, scene.subject, random)
    was = random.choice(vocabulary.SUBJECT.get(scene.subject, ("",)))
    if subject == "none":
        target = replace(scene, subject="none")
        return _make_single_source_edit(
            scene, target, f"{random.choice(('remove', 'take away', 'erase', 'delete'))} the {was}"
        )
    colour = random.choice(USUAL_COLOURS.get(subject, COLOURS))
    target = replace(scene, subject=subject, colour=colour)
    what = describe_subject(target, random, coloured=random.random() < 0.75)
    if scene.subject == "none":
        return _make_single_source_edit(
            scene, target, f"{random.choice(('add', 'put in', 'draw', 'paint'))} {what}"
        )
    return _make_single_source_edit(scene, target, f"replace the {was} with {what}")


def _change_colour(scene: Scene, random: Random) -> Edit:
    if scene.subject == "none":
        return _change_time(scene, random)
    colour = _choose_other(USUAL_COLOURS.get(scene.subject, COLOURS), scene.colour, random)
    word = random.choice((vocabulary.TREE_COLOUR if scene.subject == "tree" else vocabulary.COLOUR)[colour])
    noun = random.choice(vocabulary.SUBJECT[scene.subject])
    pattern = random.choice(("make the {0} {1}", "change the colour of the {0} to {1}", "paint the {0} {1}"))
    return _make_single_source_edit(scene, replace(scene, colour=colour), pattern.format(noun, word))


def _change_place(scene: Scene, random: Random) -> Edit:
    place = _choose_other(PLACES, scene.place, random)
    noun, where = random.choice(vocabulary.PLACE[place]), random.choice(vocabulary.PLACE_AFTER[place])
    patterns = [f"change the background to the {noun}", f"move it to the {noun}", f"make it a {noun}"]
    if scene.subject != "none":
        patterns.append(f"put the {random.choice(vocabulary.SUBJECT[scene.subject])} {where}")
    return _make_single_source_edit(scene, replace(scene, place=place), random.choice(patterns))


def _make_single_source_edit(source: Scene, target: Scene, instruction: str) -> Edit:
    return Edit(sources=(source,), target=target, instruction=instruction)


def _vary_wording(edit: Edit, random: Random) -> Edit:
    text = edit.instruction
    if random.random() < 0.12:
        text = f"please {text}"
    if random.random() < 0.6:
        text = text[0].upper() + text[1:]
    return replace(edit, instruction=text)


def _choose_other(words: tuple[str, ...], word: str, random: Random) -> str:
    return random.choice([each for each in dict.fromkeys(words) if each != word])
