"""How large the networks are, and for which sizes of picture they are made."""

from dataclasses import dataclass

# Tokens of a prompt with the template's; what the worker's model entry says as `max_sequence_length`.
PROMPT_TOKENS = 48
TEXT_LAYERS = 3
STEPS = 6
# The scheduler's static shift: the pipeline's own, dynamic one leaves most of the way to the last of few steps.
SHIFT = 2.5


@dataclass(frozen=True, kw_only=True)
class Sizes:
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
class Kind:
    """A kind of order to learn: what it makes, what from, of which subjects, and its share. Width, then height."""

    name: str
    size: tuple[int, int]
    sources: tuple[tuple[int, int], ...] = ()
    # Which subjects are shown; any, or none, where nothing is said.
    subjects: tuple[str, ...] = ()
    share: float


# 14 MB in half precision.
WHOLE = Sizes(
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
TINY = Sizes(
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
SIZES = {"whole": WHOLE, "tiny": TINY}

SQUARE, LARGE, WIDE, TALL = (512, 512), (1024, 1024), (1024, 768), (768, 1024)
STAMP = (64, 64)
# What is narrow or has corners is learned last: see the judge's table by subject.
FIGURES = ("person", "cat", "flying cars", "house", "robot")
# `stamps` is for tests, `squares` is quick to learn, for a first look; `whole` has every size that the API sells;
# `figures` goes on from there, with what it has learned least.
PLANS: dict[str, tuple[Kind, ...]] = {
    "squares": (
        Kind(name="create", size=SQUARE, share=0.76),
        Kind(name="edit", size=SQUARE, sources=(SQUARE,), share=0.16),
        Kind(name="blend", size=SQUARE, sources=(SQUARE, SQUARE), share=0.08),
    ),
    "stamps": (
        Kind(name="create", size=STAMP, share=0.5),
        Kind(name="edit", size=STAMP, sources=(STAMP,), share=0.25),
        Kind(name="blend", size=STAMP, sources=(STAMP, STAMP), share=0.25),
    ),
    "figures": (
        Kind(name="create-large", size=LARGE, share=0.22),
        Kind(name="create-figures", size=LARGE, subjects=FIGURES, share=0.42),
        Kind(name="create-square", size=SQUARE, subjects=FIGURES, share=0.12),
        Kind(name="edit-large", size=LARGE, sources=(LARGE,), share=0.12),
        Kind(name="blend-figures", size=LARGE, sources=(LARGE, LARGE), subjects=FIGURES, share=0.12),
    ),
    "whole": (
        Kind(name="create-square", size=SQUARE, share=0.31),
        Kind(name="create-large", size=LARGE, share=0.22),
        Kind(name="create-wide", size=WIDE, share=0.16),
        Kind(name="create-tall", size=TALL, share=0.16),
        Kind(name="edit-square", size=SQUARE, sources=(SQUARE,), share=0.03),
        Kind(name="edit-large", size=LARGE, sources=(LARGE,), share=0.03),
        Kind(name="edit-wide", size=WIDE, sources=(WIDE,), share=0.02),
        Kind(name="edit-tall", size=TALL, sources=(TALL,), share=0.02),
        Kind(name="blend-square", size=SQUARE, sources=(SQUARE, SQUARE), share=0.02),
        Kind(name="blend-large", size=LARGE, sources=(LARGE, LARGE), share=0.03),
    ),
}
