"""An engine on the small pipeline, loaded once."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from billing.prices import PriceRule
from workers.catalogue import ImageModel
from workers.engine.interface import Engine, load_engine

OPTIONS = {"max_sequence_length": 256, "text_encoder_out_layers": [1, 2, 3]}


def entry(
    folder: Path,
    *,
    adapter: str = "flux2-klein",
    dtype: str = "float32",
    options: Mapping[str, object] | None = None,
    sources: int = 2,
) -> ImageModel:
    """Return what models.toml says of the small pipeline, with its weights in another folder."""
    return ImageModel(
        name="zekron-image-1",
        adapter=adapter,
        weights=str(folder),
        licence="Apache-2.0",
        steps=4,
        dtype=dtype,
        batch_limit=4,
        options=OPTIONS if options is None else options,
        price=PriceRule(
            base_micros=25_000,
            megapixel_micros=1_700,
            source_image_micros=400,
            least_micros=25_000,
            most_micros=29_000,
        ),
        sources=sources,
    )


@pytest.fixture(scope="session")
def small_engine(small_model: Path) -> Engine:
    """Load the engine that every test may use and must leave usable."""
    return load_engine(model=entry(small_model), device="cpu")
