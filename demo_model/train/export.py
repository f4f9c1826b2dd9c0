"""Writes what was trained as the folder that a worker loads, and makes checkpoints of such a folder again."""

import json
import tempfile
from pathlib import Path

import torch
from diffusers import Flux2KleinPipeline
from transformers.utils import logging as transformers_logging

from demo_model.networks import pipeline
from demo_model.train import autoencoder, distil
from demo_model.train.run import Studio
from demo_model.train.trainer import write

# How many steps each stage has trained, for whoever goes on.
STEPS_FILE = "trained_steps.json"


def export(studio: Studio, folder: Path) -> int:
    """The pipeline in half precision; how many bytes its weights have. The folder appears complete or not at all.

    Raises FileExistsError, and FileNotFoundError if a stage is missing.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is there already")
    served = distil.taken_up(studio).cpu().half()
    vae = autoencoder.finished(studio).cpu().half()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        transformers_logging.disable_progress_bar()
        made = Path(scratch) / "pipeline"
        pipeline(studio.sizes, vae=vae, text=served.text, flow=served.transformer).save_pretrained(made)
        (made / STEPS_FILE).write_text(json.dumps(_steps(studio)) + "\n")
        made.rename(folder)
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def _steps(studio: Studio) -> dict[str, int]:
    """How far each stage has come."""
    return {
        path.stem: torch.load(path, map_location="cpu", weights_only=True)["step"]
        for path in sorted(studio.folder.glob("*.pt"))
    }


def reopen(studio: Studio, folder: Path) -> None:
    """Makes checkpoints of an exported folder, so that training goes on from it where there is nothing else.

    Raises FileExistsError rather than lose checkpoints.
    """
    made = Flux2KleinPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    steps = json.loads((folder / STEPS_FILE).read_text())
    flow_weights = {
        f"{part}.{name}": weight
        for part, network in (("text", made.text_encoder), ("transformer", made.transformer))
        for name, weight in network.state_dict().items()
    }
    for stage, weights in (("decoder", made.vae.state_dict()), ("transformer", flow_weights)):
        path = studio.folder / f"{stage}.pt"
        if path.exists():
            raise FileExistsError(f"{path} is there already")
        write(path, {"step": steps[stage], "networks": [weights]})
