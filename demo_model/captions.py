"""Scenes in people's words: many wordings of each, some of which leave things unsaid."""

from dataclasses import dataclass
from random import Random

from demo_model import vocabulary
from demo_model.painter.scene import Scene

# What is left unsaid of a time of day: of noon mostly, for it is what a picture shows if nobody says otherwise.
UNSAID_TIME = {"noon": 0.6}
UNSAID_TIME_OTHERWISE = 0.12


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A prompt, and which of the scene's attributes it tells."""

    text: str
    said: frozenset[str]


def caption(scene: Scene, *, seed: int, whole: bool = False) -> Caption:
    """One wording of the scene; with `whole` it says time, place, weather and subject."""
    return _Writer(scene, Random(seed), whole=whole).written()  # noqa: S311 - a choice of words is no secret


def subject_phrase(scene: Scene, dice: Random, *, coloured: bool) -> str:
    """The scene's subject with its article: `a red house`, `a girl in a blue coat`, `flying cars`."""
    noun = dice.choice(vocabulary.SUBJECT[scene.subject])
    mood = dice.choice(vocabulary.SUBJECT_MOODS[scene.subject]) if dice.random() < 0.35 else ""
    colours = vocabulary.TREE_COLOUR if scene.subject == "tree" else vocabulary.COLOUR
    colour = dice.choice(colours[scene.colour]) if coloured else ""
    if scene.subject == "person":
        dress = f" in a {colour} {dice.choice(vocabulary.CLOTHES)}" if colour else ""
        return _with_article(f"{mood} {noun}{dress}")
    if scene.subject == "flying cars":
        return " ".join(f"{mood} {colour} {noun}".split())
    return _with_article(f"{mood} {colour} {noun}")


class _Writer:
    """Chooses what is said first, then how."""

    def __init__(self, scene: Scene, dice: Random, *, whole: bool) -> None:
        self._scene, self._dice = scene, dice
        unsaid = UNSAID_TIME.get(scene.time, UNSAID_TIME_OTHERWISE)
        self._has_time = whole or dice.random() > unsaid
        self._has_weather = (
            (scene.weather != "clear") or (whole and dice.random() < 0.5) or dice.random() < 0.1
        )
        self._has_place = whole or scene.subject == "none" or dice.random() > 0.1
        self._has_subject = scene.subject != "none"
        self._has_colour = self._has_subject and dice.random() < 0.6
        self._whole = whole

    def written(self) -> Caption:
        if self._has_subject:
            pattern = self._dice.choice(
                (self._subject_first, self._subject_first, self._place_first, self._list)
            )
        else:
            pattern = self._dice.choice((self._landscape, self._landscape, self._over, self._list))
        text = pattern()
        if self._dice.random() < 0.18:
            text = f"{self._dice.choice(vocabulary.BEGINNINGS)} {text}"
        if self._dice.random() < 0.10:
            text = f"{text}, {self._dice.choice(vocabulary.ENDINGS)}"
        if self._dice.random() < 0.6:
            text = text[0].upper() + text[1:]
        if self._dice.random() < 0.12:
            text += "."
        return Caption(text=text, said=self._said())

    def _said(self) -> frozenset[str]:
        said = {"weather", "subject"}
        said |= {"time"} if self._has_time else set()
        said |= {"place"} if self._has_place else set()
        said |= {"colour"} if self._has_colour else set()
        return frozenset(said)

    def _subject_first(self) -> str:
        parts = [subject_phrase(self._scene, self._dice, coloured=self._has_colour)]
        before = ""
        if self._has_place:
            before, after = self._adjectives(most=1)
            place = self._dice.choice(vocabulary.PLACE_AFTER[self._scene.place])
            match place.split():
                case [preposition, "a" | "the", noun] if before:
                    place = f"{preposition} {_with_article(f'{before} {noun}')}"
                case _:
                    after = self._afters()
            parts.append(place)
        else:
            after = self._afters()
        return " ".join([*parts, *after])

    def _place_first(self) -> str:
        before, after = self._adjectives(most=2)
        place = self._dice.choice(vocabulary.PLACE[self._scene.place]) if self._has_place else "scene"
        subject = subject_phrase(self._scene, self._dice, coloured=self._has_colour)
        return " ".join([_with_article(f"{before} {place}"), "with", subject, *after])

    def _landscape(self) -> str:
        before, after = self._adjectives(most=2)
        mood = (
            self._dice.choice(vocabulary.PLACE_MOODS[self._scene.place]) if self._dice.random() < 0.5 else ""
        )
        place = self._dice.choice(vocabulary.PLACE[self._scene.place])
        return " ".join([_with_article(f"{mood} {before} {place}"), *after])

    def _over(self) -> str:
        if not self._has_time:
            return self._landscape()
        over = self._dice.choice(vocabulary.TIME_OVER[self._scene.time])
        place = self._dice.choice(vocabulary.PLACE[self._scene.place])
        weather = [self._after(vocabulary.WEATHER_AFTER, self._scene.weather)] if self._has_weather else []
        word = self._dice.choice(("over", "over", "in", "above"))
        return " ".join([_with_article(over), word, "the", place, *weather])

    def _list(self) -> str:
        parts = []
        if self._has_subject:
            noun = self._dice.choice(vocabulary.SUBJECT[self._scene.subject])
            colours = vocabulary.TREE_COLOUR if self._scene.subject == "tree" else vocabulary.COLOUR
            parts.append(
                f"{self._dice.choice(colours[self._scene.colour])} {noun}" if self._has_colour else noun
            )
        if self._has_place:
            parts.append(self._dice.choice(vocabulary.PLACE[self._scene.place]))
        if self._has_time:
            parts.append(self._dice.choice((self._scene.time, *vocabulary.TIME_OVER[self._scene.time])))
        if self._has_weather:
            parts.append(
                self._dice.choice(
                    (self._scene.weather, *vocabulary.WEATHER_BEFORE.get(self._scene.weather, ()))
                )
            )
        self._dice.shuffle(parts)
        return ", ".join(parts)

    def _adjectives(self, *, most: int) -> tuple[str, list[str]]:
        """What is said of time and weather before the place, at most so many words, and what after it."""
        before: list[str] = []
        after: list[str] = []
        for has, name, word_before, word_after in (
            (self._has_weather, self._scene.weather, vocabulary.WEATHER_BEFORE, vocabulary.WEATHER_AFTER),
            (self._has_time, self._scene.time, vocabulary.TIME_BEFORE, vocabulary.TIME_AFTER),
        ):
            if not has:
                continue
            if name in word_before and len(before) < most and self._dice.random() < 0.4:
                before.append(self._dice.choice(word_before[name]))
            else:
                after.append(self._after(word_after, name))
        self._dice.shuffle(after)
        return " ".join(before), after

    def _afters(self) -> list[str]:
        after = []
        if self._has_time:
            after.append(self._after(vocabulary.TIME_AFTER, self._scene.time))
        if self._has_weather:
            after.append(self._after(vocabulary.WEATHER_AFTER, self._scene.weather))
        self._dice.shuffle(after)
        return after

    def _after(self, phrases: vocabulary.Phrases, name: str) -> str:
        return self._dice.choice(phrases[name])


def _with_article(phrase: str) -> str:
    phrase = " ".join(phrase.split())
    last = phrase.split(" in ")[0].split(" of ")[0].split()[-1]
    # `mountains`, `woods` and the like take none.
    if last.endswith("s") and not last.endswith("ss"):
        return phrase
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
