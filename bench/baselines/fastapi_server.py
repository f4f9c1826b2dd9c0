# mypy: ignore-errors
# FastAPI is installed only with the benchmarks.
"""A pipeline behind HTTP as tutorials have it: one process, one lock around the pipeline, a PNG, base64.

The commands are `uvicorn --factory bench.baselines.fastapi_server:serve_small_pipeline`, with BASELINE_WEIGHTS, and
`…:serve_no_pipeline`. It has no key, price, queue, store or history.
"""

import base64
import io
import os
import threading
from functools import cache

from fastapi import FastAPI
from pydantic import BaseModel


class Order(BaseModel):
    """The fields of a request."""

    prompt: str
    size: str
    seed: int = 1


def build_application(make_png):
    """Return the server around a function from an order to the bytes of a PNG."""
    app = FastAPI()

    @app.get("/healthz")
    def alive() -> dict[str, str]:
        """Answer once the pipeline is loaded."""
        return {"status": "ok"}

    @app.post("/generate")
    def generate(order: Order) -> dict[str, str]:
        """Make the image, in one of the threads that FastAPI has for functions that block."""
        return {"b64_json": base64.b64encode(make_png(order)).decode()}

    return app


def serve_small_pipeline():
    """Return the server around the small pipeline of diffusers, with Pillow's PNG."""
    import torch  # noqa: PLC0415 (the other server needs no torch, which takes seconds)
    from diffusers import Flux2KleinPipeline  # noqa: PLC0415

    pipeline = Flux2KleinPipeline.from_pretrained(os.environ["BASELINE_WEIGHTS"], torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    # A pipeline keeps state, so only one call may run at a time.
    lock = threading.Lock()

    def make_png(order):
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
        return png.getvalue()

    return build_application(make_png)


def serve_no_pipeline():
    """Return the server around a pipeline that takes no time, with this project's PNG.

    The picture is of the kind that the prompt's first word names.
    """
    import numpy as np  # noqa: PLC0415 (so that each server imports only its own parts)

    from bench import pictures  # noqa: PLC0415
    from workers.imaging import png  # noqa: PLC0415

    @cache
    def paint(kind, side):
        return np.array(pictures.KINDS.get(kind, pictures.flat)(side))

    def make_png(order):
        return png.encode(paint(order.prompt.partition(" ")[0], int(order.size.partition("x")[0])))

    return build_application(make_png)
