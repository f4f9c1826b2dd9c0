"""How large the networks are, and for which sizes of picture they are made."""

from dataclasses import dataclass
from typing import Final

# Tokens of a prompt with the template's; what the worker's model entry says as `max_sequence_length`.
PROMPT_TOKENS: Final = 48
TEXT_LAYERS: Final = 3
STEPS: Final = 6
# The scheduler's static shift: the pipeline's own, dynamic one leaves most of the way to the last of few steps.
SHIFT: Final = 2.5


@dataclass(frozen=True, kw_only=True)
class NetworkSizes:
    """Widths and depths. A level of the autoencoder halves a picture, but for the first; the patch does once more."""

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
        """The side of what one token of the picture shows."""
        return int(2 ** len(self.decoder_channels))


@dataclass(frozen=True, kw_only=True)
class ExampleKind:
    """A kind of example to learn: what it makes, what from, of which subjects, and its share. Width, then height."""

    name: str
    size: tuple[int, int]
    sources: tuple[tuple[int, int], ...] = ()
    # Which subjects are shown; any, or none, where nothing is said.
    subjects: tuple[str, ...] = ()
    share: float


# 14 MB in half precision.
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
# For tests: everything works, and nothing is learned.
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
# What is narrow or has corners is learned last: see the judge's table by subject.
FIGURES: Final = ("person", "cat", "flying cars", "house", "robot")
# `stamps` is for tests, `squares` is quick to learn, for a first look; `whole` has every size that the API sells;
# `figures` goes on from there, with what it has learned least.
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
