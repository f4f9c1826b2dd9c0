"""Captions of scenes: many wordings of each, and most of them leave something out."""

from dataclasses import dataclass
from random import Random
from typing import Final

from demo_model import vocabulary
from demo_model.painter.scene import Scene

# A caption mostly omits noon, because a picture shows noon if nobody says otherwise.
TIME_OMISSION_CHANCES: Final = {"noon": 0.6}
DEFAULT_TIME_OMISSION_CHANCE: Final = 0.12


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A prompt, and the scene's attributes that it states."""

    text: str
    attributes: frozenset[str]


def write_caption(scene: Scene, *, seed: int, complete: bool = False) -> Caption:
    """Write one wording of the scene. The same seed gives the same wording.

    With `complete` the caption states time, place, weather and subject.
    """
    return _Writer(scene, Random(seed), complete=complete).write()  # noqa: S311 - a choice of words is no secret


def describe_subject(scene: Scene, random: Random, *, coloured: bool) -> str:
    """Return the scene's subject with its article: `a red house`, `a girl in a blue coat`, `flying cars`."""
    noun = random.choice(vocabulary.SUBJECT[scene.subject])
    mood = random.choice(vocabulary.SUBJECT_MOODS[scene.subject]) if random.random() < 0.35 else ""
    colours = vocabulary.TREE_COLOUR if scene.subject == "tree" else vocabulary.COLOUR
    colour = random.choice(colours[scene.colour]) if coloured else ""
    if scene.subject == "person":
        dress = f" in a {colour} {random.choice(vocabulary.CLOTHES)}" if colour else ""
        return _add_article(f"{mood} {noun}{dress}")
    if scene.subject == "flying cars":
        return " ".join(f"{mood} {colour} {noun}".split())
    return _add_article(f"{mood} {colour} {noun}")


class _Writer:
    """Writer of one caption. It chooses the attributes first, and then their wording."""

    def __init__(self, scene: Scene, random: Random, *, complete: bool) -> None:
        self._scene, self._random = scene, random
        omission_chance = TIME_OMISSION_CHANCES.get(scene.time, DEFAULT_TIME_OMISSION_CHANCE)
        self._has_time = complete or random.random() > omission_chance
        self._has_weather = (
            (scene.weather != "clear") or (complete and random.random() < 0.5) or random.random() < 0.1
        )
        self._has_place = complete or scene.subject == "none" or random.random() > 0.1
        self._has_subject = scene.subject != "none"
        self._has_colour = self._has_subject and random.random() < 0.6

    def write(self) -> Caption:
        if self._has_subject:
            pattern = self._random.choice(
                (
                    self._write_subject_first,
                    self._write_subject_first,
                    self._write_place_first,
                    self._write_list,
                )
            )
        else:
            pattern = self._random.choice(
                (self._write_landscape, self._write_landscape, self._write_time_over_place, self._write_list)
            )
        text = pattern()
        if self._random.random() < 0.18:
            text = f"{self._random.choice(vocabulary.BEGINNINGS)} {text}"
        if self._random.random() < 0.10:
            text = f"{text}, {self._random.choice(vocabulary.ENDINGS)}"
        if self._random.random() < 0.6:
            text = text[0].upper() + text[1:]
        if self._random.random() < 0.12:
            text += "."
        return Caption(text=text, attributes=self._list_attributes())

    def _list_attributes(self) -> frozenset[str]:
        attributes = {"weather", "subject"}
        attributes |= {"time"} if self._has_time else set()
        attributes |= {"place"} if self._has_place else set()
        attributes |= {"colour"} if self._has_colour else set()
        return frozenset(attributes)

    def _write_subject_first(self) -> str:
        parts = [describe_subject(self._scene, self._random, coloured=self._has_colour)]
        before = ""
        if self._has_place:
            before, after = self._choose_adjectives(max_before=1)
            place = self._random.choice(vocabulary.PLACE_AFTER[self._scene.place])
            match place.split():
                case [preposition, "a" | "the", noun] if before:
                    place = f"{preposition} {_add_article(f'{before} {noun}')}"
                case _:
                    after = self._choose_endings()
            parts.append(place)
        else:
            after = self._choose_endings()
        return " ".join([*parts, *after])

    def _write_place_first(self) -> str:
        before, after = self._choose_adjectives(max_before=2)
        place = self._random.choice(vocabulary.PLACE[self._scene.place]) if self._has_place else "scene"
        subject = describe_subject(self._scene, self._random, coloured=self._has_colour)
        return " ".join([_add_article(f"{before} {place}"), "with", subject, *after])

    def _write_landscape(self) -> str:
        before, after = self._choose_adjectives(max_before=2)
        mood = (
            self._random.choice(vocabulary.PLACE_MOODS[self._scene.place])
            if self._random.random() < 0.5
            else ""
        )
        place = self._random.choice(vocabulary.PLACE[self._scene.place])
        return " ".join([_add_article(f"{mood} {before} {place}"), *after])

    def _write_time_over_place(self) -> str:
        if not self._has_time:
            return self._write_landscape()
        over = self._random.choice(vocabulary.TIME_OVER[self._scene.time])
        place = self._random.choice(vocabulary.PLACE[self._scene.place])
        weather = [self._choose(vocabulary.WEATHER_AFTER, self._scene.weather)] if self._has_weather else []
        word = self._random.choice(("over", "over", "in", "above"))
        return " ".join([_add_article(over), word, "the", place, *weather])

    def _write_list(self) -> str:
        parts = []
        if self._has_subject:
            noun = self._random.choice(vocabulary.SUBJECT[self._scene.subject])
            colours = vocabulary.TREE_COLOUR if self._scene.subject == "tree" else vocabulary.COLOUR
            parts.append(
                f"{self._random.choice(colours[self._scene.colour])} {noun}" if self._has_colour else noun
            )
        if self._has_place:
            parts.append(self._random.choice(vocabulary.PLACE[self._scene.place]))
        if self._has_time:
            parts.append(self._random.choice((self._scene.time, *vocabulary.TIME_OVER[self._scene.time])))
        if self._has_weather:
            parts.append(
                self._random.choice(
                    (self._scene.weather, *vocabulary.WEATHER_BEFORE.get(self._scene.weather, ()))
                )
            )
        self._random.shuffle(parts)
        return ", ".join(parts)

    def _choose_adjectives(self, *, max_before: int) -> tuple[str, list[str]]:
        """Return the adjectives before the place, `max_before` at most, and the phrases after it."""
        before: list[str] = []
        after: list[str] = []
        for has, name, word_before, word_after in (
            (self._has_weather, self._scene.weather, vocabulary.WEATHER_BEFORE, vocabulary.WEATHER_AFTER),
            (self._has_time, self._scene.time, vocabulary.TIME_BEFORE, vocabulary.TIME_AFTER),
        ):
            if not has:
                continue
            if name in word_before and len(before) < max_before and self._random.random() < 0.4:
                before.append(self._random.choice(word_before[name]))
            else:
                after.append(self._choose(word_after, name))
        self._random.shuffle(after)
        return " ".join(before), after

    def _choose_endings(self) -> list[str]:
        after = []
        if self._has_time:
            after.append(self._choose(vocabulary.TIME_AFTER, self._scene.time))
        if self._has_weather:
            after.append(self._choose(vocabulary.WEATHER_AFTER, self._scene.weather))
        self._random.shuffle(after)
        return after

    def _choose(self, phrases: vocabulary.Phrases, name: str) -> str:
        return self._random.choice(phrases[name])


def _add_article(phrase: str) -> str:
    phrase = " ".join(phrase.split())
    last = phrase.split(" in ")[0].split(" of ")[0].split()[-1]
    # Plurals such as `mountains` and `woods` take no article.
    if last.endswith("s") and not last.endswith("ss"):
        return phrase
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
