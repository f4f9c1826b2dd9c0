"""A script that loads a model from a hub's cache, made in the folder of its argument, and prints what it saw as JSON.

It is a process of its own, because the hub's library reads its folder from the environment when it is imported. The
checkpoint is as the hub has it: in bfloat16, in several files, and with a chat template that can think.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.workers.conftest import OPTIONS, entry
from workers.engine.interface import ImageOrder, load_engine
from workers.pipelines.tiny import build

REVISION = "0123456789abcdef0123456789abcdef01234567"
NAME = "someone/a-model"
TEMPLATE = (
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{%- endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n"
    "{%- if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{%- endif %}{%- endif %}"
)


def write(cache: Path, adapter: str) -> None:
    """Write the adapter's small model into the cache, as one that was downloaded."""
    pipeline: Any = build.build(adapter)[""]
    if adapter == "flux2-klein":
        pipeline.tokenizer.chat_template = TEMPLATE
    pipeline.to(dtype=torch.bfloat16)
    repository = cache / f"models--{NAME.replace('/', '--')}"
    pipeline.save_pretrained(repository / "snapshots" / REVISION, max_shard_size="300KB")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)


def main(adapter: str, cache: Path) -> None:
    """Write the model, load it by its name and revision, and make a picture."""
    write(cache, adapter)
    # As in the real model, the last layers of the text encoder are not used.
    options = {**OPTIONS, "text_encoder_out_layers": [1, 2, 2]} if adapter == "flux2-klein" else {}
    # The others need further weights to edit with, or take fewer sources.
    sources = 2 if adapter == "flux2-klein" else 0
    model = replace(
        entry(cache, adapter=adapter, dtype="bfloat16", options=options, sources=sources),
        weights=f"{NAME}@{REVISION}",
        steps=2,
    )
    engine = load_engine(model=model, device="cpu")
    order = ImageOrder(prompt="a red fox", width=128, height=128, seed=5)
    [picture] = engine.decode(engine.denoise(engine.prepare([order]), on_step=lambda _done, _steps: None))
    files = len(list(cache.rglob("*.safetensors")))
    sys.stdout.write(
        json.dumps({"shape": picture.shape, "deviation": float(np.std(picture)), "files": files})
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
