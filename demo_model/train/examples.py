"""Examples of a kind: their scenes, and the texts that may ask for them."""

from collections.abc import Sequence
from itertools import islice
from typing import Final, NamedTuple

from demo_model.captions import write_caption
from demo_model.config import ExampleKind
from demo_model.edit_pairs import Edit, make_blend, make_edit
from demo_model.painter.scene import Scene, draw_scenes

# A picture has several captions. An edit has one instruction, which is repeated.
CAPTIONS_PER_PICTURE: Final = 4
# Among this many scenes, nearly always one has a wanted place or subject.
SEEDS_PER_SCENE: Final = 16
# One scene in nine has no subject. Among this many more, at least one has a subject.
EXTRA_SCENES: Final = 16


class Example(NamedTuple):
    """A target scene, its source scenes, and the texts that may ask for it."""

    target: Scene
    sources: tuple[Scene, ...]
    texts: tuple[str, ...]


def make_examples(kind: ExampleKind, seeds: Sequence[int]) -> list[Example]:
    """Make an example of this kind for each seed, with all its texts."""
    drawn = draw_scenes(seeds) if kind.sources else _draw_scenes(kind, seeds)
    if not kind.sources:
        return [
            Example(
                target=scene,
                sources=(),
                texts=tuple(
                    write_caption(scene, seed=scene.seed + at).text for at in range(CAPTIONS_PER_PICTURE)
                ),
            )
            for scene in drawn
        ]
    if len(kind.sources) == 1:
        return [_make_example(make_edit(scene, seed=scene.seed)) for scene in drawn]
    tried = _draw_scenes(kind, range(seeds[0] + 500_000, seeds[-1] + 500_000 + EXTRA_SCENES))
    shown = [scene for scene in tried if scene.subject != "none"]
    return [
        _make_example(make_blend(shown[at % len(shown)], scene, seed=scene.seed))
        for at, scene in enumerate(drawn)
    ]


def _draw_scenes(kind: ExampleKind, seeds: Sequence[int]) -> list[Scene]:
    """Draw a scene for each seed.

    If the kind has only some subjects or places, draw from more seeds and keep the scenes that have these.
    """
    if not (kind.subjects or kind.places):
        return draw_scenes(seeds)
    # Each seed has a range of its own, so that no two share a scene. With few matches, the scenes may be fewer.
    tried = draw_scenes(range(seeds[0] * SEEDS_PER_SCENE, (seeds[-1] + 1) * SEEDS_PER_SCENE))
    wanted = (
        scene
        for scene in tried
        if (not kind.subjects or scene.subject in kind.subjects)
        and (not kind.places or scene.place in kind.places)
    )
    return list(islice(wanted, len(seeds)))


def _make_example(change: Edit) -> Example:
    return Example(target=change.target, sources=change.sources, texts=(change.instruction,))
