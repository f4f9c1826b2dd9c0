"""`python -m demo_model.contact_sheet`: pictures of a trained model on one sheet, for people to look at."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from PIL import Image

from demo_model.inference import InferencePipeline

# The examples of the published API, then something of everything.
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
# Each begins with the picture of a prompt above, by its place.
EDITS: Final = (
    (0, "Add a rainbow in the sky"),
    (2, "Make it look like winter with snow"),
    (5, "Turn day into night"),
    (6, "Make the house blue"),
)
BLEND: Final = (
    (9, 0),
    "Combine these two images: put the person from image 1 into the background of image 2",
)
COLUMNS: Final = 4


def main() -> None:
    """Paints the sheet."""
    parser = argparse.ArgumentParser(prog="python -m demo_model.contact_sheet", description=__doc__)
    parser.add_argument(
        "--weights", type=Path, default=Path("var/models/demo"), help="the folder of the model"
    )
    parser.add_argument("--to", type=Path, default=Path("docs/demo_model.png"))
    parser.add_argument("--side", type=int, default=1024, help="of each picture as it is made")
    parser.add_argument("--shown", type=int, default=256, help="of each picture on the sheet")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="of torch, on a CPU")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    pictures = generate_pictures(
        InferencePipeline(arguments.weights, arguments.device), side=arguments.side, seed=arguments.seed
    )
    arguments.to.parent.mkdir(parents=True, exist_ok=True)
    lay_out(pictures, side=arguments.shown).save(arguments.to)
    print(f"{arguments.to}: {len(pictures)} pictures")


def generate_pictures(pipeline: InferencePipeline, *, side: int, seed: int) -> list[Image.Image]:
    """A picture of each prompt, each edit after its source, and the blend."""
    size = (side, side)
    made = list(pipeline.generate(PROMPTS, size=size, first_seed=seed))
    edits = [
        picture for at, text in EDITS for picture in pipeline.generate([text], size=size, sources=[made[at]])
    ]
    sources, text = BLEND
    blended = list(pipeline.generate([text], size=size, sources=[made[at] for at in sources]))
    return [*made, *edits, *(made[at] for at in sources), *blended]


def lay_out(pictures: Sequence[Image.Image], *, side: int) -> Image.Image:
    """Row by row."""
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * side, rows * side), "white")
    for at, picture in enumerate(pictures):
        row, column = divmod(at, COLUMNS)
        sheet.paste(picture.resize((side, side), Image.Resampling.LANCZOS), (column * side, row * side))
    return sheet


if __name__ == "__main__":
    main()
