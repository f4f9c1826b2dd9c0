# mypy: ignore-errors
# FastAPI is installed only with the benchmarks.
"""A pipeline behind HTTP as tutorials have it: one process, one lock around the pipeline, Pillow's PNG, base64.

The command is `uvicorn bench.baselines.fastapi_server:app`, with BASELINE_WEIGHTS. It has no key, price, queue, store
or history.
"""

import base64
import io
import os
import threading

import torch
from diffusers import Flux2KleinPipeline
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
pipeline = Flux2KleinPipeline.from_pretrained(os.environ["BASELINE_WEIGHTS"], torch_dtype=torch.float32)
pipeline.set_progress_bar_config(disable=True)
# A pipeline keeps state, so only one call may run at a time.
lock = threading.Lock()


class Order(BaseModel):
    """The fields of a request."""

    prompt: str
    size: str
    seed: int = 1


@app.get("/healthz")
def alive() -> dict[str, str]:
    """Answer once the pipeline is loaded."""
    return {"status": "ok"}


@app.post("/generate")
def generate(order: Order) -> dict[str, str]:
    """Make the image, in one of the threads that FastAPI has for functions that block."""
    width, height = map(int, order.size.split("x"))
    with lock:
        image = pipeline(
            prompt=order.prompt,
            width=width,
            height=height,
            num_inference_steps=4,
            max_sequence_length=256,
            text_encoder_out_layers=(1, 2, 3),
            generator=torch.Generator("cpu").manual_seed(order.seed),
        ).images[0]
    png = io.BytesIO()
    image.save(png, "PNG")
    return {"b64_json": base64.b64encode(png.getvalue()).decode()}
