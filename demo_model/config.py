"""Sizes of the networks, and the plans of examples to train on."""

from dataclasses import dataclass
from typing import Final

# A prompt's tokens, with those of the chat template. The model's entry has them as `max_sequence_length`.
PROMPT_TOKENS: Final = 48
TEXT_LAYERS: Final = 3
STEPS: Final = 6
# The scheduler's static shift. The pipeline's dynamic shift leaves most of the way to the last of few steps.
SHIFT: Final = 2.5


@dataclass(frozen=True, kw_only=True)
class NetworkSizes:
    """Widths and depths of the networks.

    Each level of the autoencoder except the first halves a picture, and the transformer's patches halve it once more.
    """

    vocabulary: int
    text_width: int
    encoder_channels: tuple[int, ...]
    decoder_channels: tuple[int, ...]
    latent_channels: int
    head_count: int
    double_blocks: int
    single_blocks: int
    mlp_ratio: float

    @property
    def patch_pixels(self) -> int:
        """The side of the square that one token of a picture shows, in pixels."""
        return int(2 ** len(self.decoder_channels))


@dataclass(frozen=True, kw_only=True)
class ExampleKind:
    """A kind of training example: its size, its sources' sizes (width, height), its scenes and its share."""

    name: str
    size: tuple[int, int]
    sources: tuple[tuple[int, int], ...] = ()
    # An empty tuple stands for all subjects, and for scenes without one.
    subjects: tuple[str, ...] = ()
    # An empty tuple stands for all places.
    places: tuple[str, ...] = ()
    share: float


# The weights take 14 MB in half precision.
WHOLE: Final = NetworkSizes(
    vocabulary=2048,
    text_width=96,
    encoder_channels=(8, 8, 16, 24, 48, 64),
    decoder_channels=(8, 8, 16, 32, 64, 96),
    latent_channels=16,
    head_count=6,
    double_blocks=2,
    single_blocks=5,
    mlp_ratio=3.0,
)
# Tests use these sizes, which are too small to learn anything.
TINY: Final = NetworkSizes(
    vocabulary=512,
    text_width=32,
    encoder_channels=(8, 8, 8, 16, 24),
    decoder_channels=(8, 8, 8, 16, 16),
    latent_channels=4,
    head_count=2,
    double_blocks=1,
    single_blocks=1,
    mlp_ratio=1.0,
)
SIZES: Final = {"whole": WHOLE, "tiny": TINY}

SQUARE: Final = (512, 512)
LARGE: Final = (1024, 1024)
WIDE: Final = (1024, 768)
TALL: Final = (768, 1024)
STAMP: Final = (64, 64)
# Narrow and angular subjects are learned last. The evaluation's table by subject shows it.
FIGURES: Final = ("person", "cat", "flying cars", "house", "robot")
MOUNTAINS: Final = ("mountains",)
# `stamps` is for tests. `squares` learns quickly, for a first look. `whole` has every size that the API sells.
# `figures` continues from there with the subjects that were learned least, and `mountains` is for the stage `adapt`.
PLANS: Final[dict[str, tuple[ExampleKind, ...]]] = {
    "squares": (
        ExampleKind(name="create", size=SQUARE, share=0.76),
        ExampleKind(name="edit", size=SQUARE, sources=(SQUARE,), share=0.16),
        ExampleKind(name="blend", size=SQUARE, sources=(SQUARE, SQUARE), share=0.08),
    ),
    "stamps": (
        ExampleKind(name="create", size=STAMP, share=0.5),
        ExampleKind(name="edit", size=STAMP, sources=(STAMP,), share=0.25),
        ExampleKind(name="blend", size=STAMP, sources=(STAMP, STAMP), share=0.25),
    ),
    "figures": (
        ExampleKind(name="create-large", size=LARGE, share=0.22),
        ExampleKind(name="create-figures", size=LARGE, subjects=FIGURES, share=0.42),
        ExampleKind(name="create-square", size=SQUARE, subjects=FIGURES, share=0.12),
        ExampleKind(name="edit-large", size=LARGE, sources=(LARGE,), share=0.12),
        ExampleKind(name="blend-figures", size=LARGE, sources=(LARGE, LARGE), subjects=FIGURES, share=0.12),
    ),
    "mountains": (
        ExampleKind(name="mountains-large", size=LARGE, places=MOUNTAINS, share=0.20),
        ExampleKind(name="mountains-square", size=SQUARE, places=MOUNTAINS, share=0.11),
        ExampleKind(name="mountains-wide", size=WIDE, places=MOUNTAINS, share=0.11),
        ExampleKind(name="mountains-tall", size=TALL, places=MOUNTAINS, share=0.11),
        ExampleKind(name="create-large", size=LARGE, share=0.08),
        ExampleKind(name="create-square", size=SQUARE, share=0.04),
        ExampleKind(name="create-wide", size=WIDE, share=0.04),
        ExampleKind(name="create-tall", size=TALL, share=0.08),
        ExampleKind(name="edit-large", size=LARGE, sources=(LARGE,), share=0.04),
        ExampleKind(name="edit-square", size=SQUARE, sources=(SQUARE,), share=0.04),
        ExampleKind(name="edit-wide", size=WIDE, sources=(WIDE,), share=0.04),
        ExampleKind(name="edit-tall", size=TALL, sources=(TALL,), share=0.04),
        ExampleKind(name="blend-large", size=LARGE, sources=(LARGE, LARGE), share=0.04),
        ExampleKind(name="blend-square", size=SQUARE, sources=(SQUARE, SQUARE), share=0.03),
    ),
    "whole": (
        ExampleKind(name="create-square", size=SQUARE, share=0.31),
        ExampleKind(name="create-large", size=LARGE, share=0.22),
        ExampleKind(name="create-wide", size=WIDE, share=0.16),
        ExampleKind(name="create-tall", size=TALL, share=0.16),
        ExampleKind(name="edit-square", size=SQUARE, sources=(SQUARE,), share=0.03),
        ExampleKind(name="edit-large", size=LARGE, sources=(LARGE,), share=0.03),
        ExampleKind(name="edit-wide", size=WIDE, sources=(WIDE,), share=0.02),
        ExampleKind(name="edit-tall", size=TALL, sources=(TALL,), share=0.02),
        ExampleKind(name="blend-square", size=SQUARE, sources=(SQUARE, SQUARE), share=0.02),
        ExampleKind(name="blend-large", size=LARGE, sources=(LARGE, LARGE), share=0.03),
    ),
}
