"""Export of the trained networks as a folder that a worker loads, and checkpoints from such a folder."""

import json
import tempfile
from pathlib import Path
from typing import Final

import torch
from diffusers import Flux2KleinPipeline
from transformers.utils import logging as transformers_logging

from demo_model.networks import build_pipeline
from demo_model.train import adapt, autoencoder
from demo_model.train.run import TrainingRun
from demo_model.train.trainer import write_atomically

# The number of steps of each stage, from which `reopen` continues.
STEPS_FILE: Final = "trained_steps.json"


def export(run: TrainingRun, folder: Path) -> int:
    """Write the pipeline in half precision, and return the size of its weights in bytes.

    The folder appears complete or not at all. Raises FileExistsError, and FileNotFoundError if a stage is missing.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists already.")
    served = adapt.load_served(run).cpu().half()
    vae = autoencoder.load_trained(run).cpu().half()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        transformers_logging.disable_progress_bar()
        made = Path(scratch) / "pipeline"
        build_pipeline(run.sizes, vae=vae, text=served.text, flow=served.transformer).save_pretrained(made)
        (made / STEPS_FILE).write_text(json.dumps(_read_steps(run)) + "\n")
        made.rename(folder)
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def _read_steps(run: TrainingRun) -> dict[str, int]:
    """Read the number of steps that each stage has trained."""
    return {
        path.stem: torch.load(path, map_location="cpu", weights_only=True)["step"]
        for path in sorted(run.folder.glob("*.pt"))
    }


def reopen(run: TrainingRun, folder: Path) -> None:
    """Write checkpoints from an exported folder, so that training can continue from it.

    Raises FileExistsError if there is a checkpoint already.
    """
    made = Flux2KleinPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    steps = json.loads((folder / STEPS_FILE).read_text())
    flow_weights = {
        f"{part}.{name}": weight
        for part, network in (("text", made.text_encoder), ("transformer", made.transformer))
        for name, weight in network.state_dict().items()
    }
    for stage, weights in (("decoder", made.vae.state_dict()), ("transformer", flow_weights)):
        path = run.folder / f"{stage}.pt"
        if path.exists():
            raise FileExistsError(f"{path} exists already.")
        write_atomically(path, {"step": steps[stage], "networks": [weights]})
