"""Contact sheet of a trained model's pictures, each above its prompt: `python -m demo_model.contact_sheet`."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont

from demo_model.inference import InferencePipeline

# The examples of the published API come first, then some of every attribute.
PROMPTS: Final = (
    "A serene mountain landscape at golden hour",
    "A futuristic city with flying cars at sunset",
    "A cute robot in a garden",
    "A sunset over the ocean",
    "A magical forest",
    "A white cat in a snowy garden",
    "A red house in the mountains under a rainbow",
    "A yellow hot air balloon over the desert at dawn",
    "A sailing boat at night under the stars",
    "A girl in a red coat in the rain in the city",
    "A pink tree in a foggy meadow",
    "A blue robot in the forest at night with fireflies",
)
# Each edit names its source by the index of its prompt. With five edits, no cell of the sheet is empty.
EDITS: Final = (
    (0, "Add a rainbow in the sky"),
    (2, "Make it look like winter with snow"),
    (5, "Turn day into night"),
    (6, "Make the house blue"),
    (3, "Add a sailing boat"),
)
BLEND: Final = (
    (9, 0),
    "Combine these two images: put the person from image 1 into the background of image 2",
)
COLUMNS: Final = 4
# The longest caption, which is the blend's, fills three lines.
CAPTION_LINES: Final = 3
# The sizes are fractions of a picture's side, so that a sheet of any size looks alike.
FONT_SIZE: Final = 1 / 18
LINE_HEIGHT: Final = 1 / 14
MARGIN: Final = 1 / 32
INK: Final = "#24292f"


class CaptionedPicture(NamedTuple):
    """A picture and the text under it."""

    caption: str
    picture: Image.Image


def main() -> None:
    """Write the contact sheet."""
    parser = argparse.ArgumentParser(prog="python -m demo_model.contact_sheet", description=__doc__)
    parser.add_argument(
        "--weights", type=Path, default=Path("var/models/demo"), help="folder of the trained model"
    )
    parser.add_argument("--to", type=Path, default=Path("docs/demo_model.png"), help="file to write")
    parser.add_argument("--side", type=int, default=1024, help="side of each generated picture, in pixels")
    parser.add_argument("--shown", type=int, default=256, help="side of each picture on the sheet, in pixels")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="number of torch threads on a CPU")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first picture; each next one adds 1")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    pipeline = InferencePipeline(arguments.weights, arguments.device)
    pictures = generate_pictures(pipeline, side=arguments.side, seed=arguments.seed)
    arguments.to.parent.mkdir(parents=True, exist_ok=True)
    lay_out(pictures, side=arguments.shown).save(arguments.to, optimize=True)
    print(f"Wrote {len(pictures)} pictures to {arguments.to}.")


def generate_pictures(pipeline: InferencePipeline, *, side: int, seed: int) -> list[CaptionedPicture]:
    """Generate a picture of each prompt, then the edits, then the blend after its two sources.

    The seeds count up from `seed`, so nobody chooses a picture.
    """
    size = (side, side)
    created = list(pipeline.generate(PROMPTS, size=size, first_seed=seed))
    cells = [
        CaptionedPicture(f"{number}. {prompt}", picture)
        for number, (prompt, picture) in enumerate(zip(PROMPTS, created, strict=True), start=1)
    ]
    for at, text in EDITS:
        [edited] = pipeline.generate([text], size=size, sources=[created[at]])
        cells.append(CaptionedPicture(f"Edit of {at + 1}: {text}", edited))
    sources, text = BLEND
    for number, at in enumerate(sources, start=1):
        cells.append(CaptionedPicture(f"Image {number} is picture {at + 1}", created[at]))
    [blended] = pipeline.generate([text], size=size, sources=[created[at] for at in sources])
    cells.append(CaptionedPicture(text, blended))
    return cells


def lay_out(pictures: Sequence[CaptionedPicture], *, side: int) -> Image.Image:
    """Return the sheet, row by row. Each picture is `side` pixels wide and stands above its caption."""
    margin = round(MARGIN * side)
    cell_width, cell_height = side + margin, side + margin + round(CAPTION_LINES * LINE_HEIGHT * side)
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * cell_width + margin, rows * cell_height + margin), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=FONT_SIZE * side)
    for at, (caption, picture) in enumerate(pictures):
        row, column = divmod(at, COLUMNS)
        left, top = margin + column * cell_width, margin + row * cell_height
        sheet.paste(picture.resize((side, side), Image.Resampling.LANCZOS), (left, top))
        for number, line in enumerate(wrap(caption, font, width=side)):
            draw.text((left, top + side + (number + 0.3) * LINE_HEIGHT * side), line, fill=INK, font=font)
    return sheet


def wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, *, width: int) -> Iterator[str]:
    """Yield the lines of a text that are at most `width` pixels wide. A longer word has its own line."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            yield line
            longer = word
        line = longer
    yield line


if __name__ == "__main__":
    main()
