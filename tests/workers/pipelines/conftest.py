"""Fixtures that several modules about the small pipelines share."""

from collections.abc import Iterator

import pytest
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus


@pytest.fixture(scope="module")
def small_sources() -> Iterator[None]:
    """Keep sources small: Qwen-Image scales each source to a megapixel, which takes a CPU seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", 128 * 128)
        yield
