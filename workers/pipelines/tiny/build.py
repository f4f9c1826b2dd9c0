"""The construction of small pipelines: the real classes of each adapter at a toy's size, with random weights.

The weights are seeded, so a picture follows the prompt, the seed and the sources without showing them.
"""

import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import torch
from transformers.utils import logging as transformers_logging

# Each module has `build_parts() -> Mapping[str, Any]`, the parts by the folder that each is saved to.
ADAPTERS: Final = {
    "flux2-klein": "workers.pipelines.tiny.flux2_klein",
    "qwen-image": "workers.pipelines.tiny.qwen_image",
    "stable-diffusion-xl": "workers.pipelines.tiny.stable_diffusion_xl",
}
SEED: Final = 20_240_407
MARKER: Final = "made-by-make_small_model"


def make(folder: Path, *, adapter: str = "flux2-klein") -> bool:
    """Write the adapter's small pipeline to `folder` unless one is there. Return True if this call has written it.

    The folder appears complete or not at all, however many processes make it at once.
    """
    if _is_pipeline(folder):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        transformers_logging.disable_progress_bar()
        made = Path(scratch) / "pipeline"
        for folder_name, part in build(adapter).items():
            part.save_pretrained(made / folder_name)
        (made / MARKER).touch()
        try:
            made.rename(folder)
        except OSError:
            # Another process was first, and its pipeline is equal. Anything else in the way is an error.
            if not _is_pipeline(folder):
                raise
            return False
    return True


def is_small(folder: Path) -> bool:
    """Return True if `make` has written this folder, so that deleting it loses nothing."""
    return (folder / MARKER).is_file()


def build(adapter: str) -> Mapping[str, Any]:
    """Return an adapter's parts in memory, equal at every call. torch's own random state does not change."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        parts: Mapping[str, Any] = import_module(ADAPTERS[adapter]).build_parts()
        return parts


def _is_pipeline(folder: Path) -> bool:
    return (folder / "model_index.json").is_file()
