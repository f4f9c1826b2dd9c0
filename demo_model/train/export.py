"""Writes what was trained: the folder that a worker loads, and checkpoints that are light enough to carry."""

import tempfile
from pathlib import Path

from transformers.utils import logging as transformers_logging

from demo_model.judge import classifier
from demo_model.parts import pipeline
from demo_model.train import autoencoder, flow, straighten, text
from demo_model.train.studio import Studio


def export(studio: Studio, folder: Path) -> int:
    """The pipeline in half precision; how many bytes its weights have. The folder appears complete or not at all.

    Raises FileExistsError, and FileNotFoundError if a stage is missing.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is there already")
    served = straighten.taken_up(studio).cpu().half()
    vae = autoencoder.finished(studio).cpu().half()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        transformers_logging.disable_progress_bar()
        made = Path(scratch) / "pipeline"
        pipeline(studio.sizes, vae=vae, text=served.text, flow=served.transformer).save_pretrained(made)
        made.rename(folder)
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def lighten(studio: Studio, folder: Path) -> int:
    """Writes light checkpoints of all stages that are needed to go on; how many bytes they have."""
    folder.mkdir(parents=True, exist_ok=True)
    courses = [
        autoencoder.taken_up(studio, is_decoder=True)[1],
        text.taken_up(studio)[1],
        flow.taken_up(studio)[1],
        classifier.taken_up(studio)[1],
    ]
    for course in courses:
        if course.path.is_file():
            course.save_light(folder / course.path.name)
    return sum(path.stat().st_size for path in folder.glob("*.pt"))
