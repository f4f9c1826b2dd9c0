import pytest
import torch

from workers.engine.interface import EngineError
from workers.pipelines.runtime import float8


@pytest.mark.parametrize("bias", [True, False])
def test_a_product_in_eight_bits_differs_by_rounding_alone(bias: bool) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(256, 96, bias=bias).to(torch.bfloat16)
    # Rows of very different size have scales of their own.
    values = (torch.randn(2, 5, 256) * torch.logspace(-3, 3, 5).view(1, 5, 1)).to(torch.bfloat16)
    expected = linear(values)
    result = float8.Float8Linear(linear)(values)
    assert result.shape == expected.shape
    assert result.dtype == expected.dtype
    for row, wanted in zip(result.float().flatten(0, 1), expected.float().flatten(0, 1), strict=True):
        assert (row - wanted).norm() / wanted.norm() < 0.06


def test_a_row_of_zeros_gives_the_bias() -> None:
    linear = torch.nn.Linear(32, 16).to(torch.bfloat16)
    result = float8.Float8Linear(linear)(torch.zeros(3, 32, dtype=torch.bfloat16))
    assert torch.equal(result, linear.bias.detach().expand(3, 16))


def test_layers_whose_sides_the_matrix_units_cannot_take_stay_as_they_are() -> None:
    block = torch.nn.Sequential(torch.nn.Linear(32, 48), torch.nn.Sequential(torch.nn.Linear(48, 17)))
    assert float8.replace_linears([block], device=torch.device("cpu")) == 1
    assert [type(each) for each in block.modules() if not isinstance(each, torch.nn.Sequential)] == [
        float8.Float8Linear,
        torch.nn.Linear,
    ]


def test_an_older_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "NVIDIA A100")
    with pytest.raises(EngineError, match="NVIDIA A100 cannot multiply in eight-bit"):
        float8.replace_linears([torch.nn.Linear(32, 32)], device=torch.device("cuda:0"))
