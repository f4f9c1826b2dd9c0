import pytest
import torch

from workers.pipelines.runtime import noise


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_noise_is_what_the_pipeline_draws_for_the_seed(dtype: torch.dtype) -> None:
    drawn = torch.randn((1, 16, 24, 32), generator=torch.Generator().manual_seed(7), dtype=dtype)
    drawn_here = noise.draw((1, 16, 24, 32), seed=7, dtype=dtype)
    assert drawn_here.dtype == dtype
    assert torch.equal(drawn_here, drawn)
