"""Fixtures that several modules about the small pipelines share."""

from collections.abc import Iterator

import pytest
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus

from workers.pipelines.runtime import latent_previews


@pytest.fixture(scope="module")
def small_sources() -> Iterator[None]:
    """Keep sources small: Qwen-Image scales each source to a megapixel, which takes a CPU seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", 128 * 128)
        yield


@pytest.fixture(scope="package", autouse=True)
def small_fit() -> Iterator[None]:
    """Fit previews to one picture, because many tests load engines and few look at previews."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latent_previews, "MAX_FITTED_TOKENS", 1)
        yield


@pytest.fixture(scope="module")
def whole_fit(small_fit: None) -> Iterator[None]:
    """Fit previews to all pictures, as a worker does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latent_previews, "MAX_FITTED_TOKENS", 1024)
        yield
