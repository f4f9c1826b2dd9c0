# mypy: ignore-errors
# FastAPI is only there where the benchmarks were installed.
"""A pipeline behind HTTP as its tutorials have it: one process, one lock around the pipeline, PNG by Pillow, base64.

`uvicorn bench.baselines.fastapi_server:app`, with BASELINE_WEIGHTS. It has no key, price, queue, store or history.
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
# A pipeline keeps its state in itself, so one call at a time.
lock = threading.Lock()


class Order(BaseModel):
    """What is asked for."""

    prompt: str
    size: str
    seed: int = 1


@app.get("/healthz")
def alive() -> dict[str, str]:
    """Once it answers, the pipeline is loaded."""
    return {"status": "ok"}


@app.post("/generate")
def generate(order: Order) -> dict[str, str]:
    """In one of the threads that FastAPI has for functions that block."""
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
