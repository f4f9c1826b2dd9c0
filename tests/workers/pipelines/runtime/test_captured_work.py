"""A GPU can capture only work that launches kernels and never waits for a result.

There is no GPU here. Instead, each operation that torch runs is inspected.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.utils import import_utils

from tests.workers.conftest import OPTIONS, entry
from workers.engine.interface import load_engine
from workers.pipelines.runtime import compilation
from workers.pipelines.tiny import build

# A number for the host, a tensor from the host's numbers, and shapes that depend on a tensor's values.
WAITS = {
    "_local_scalar_dense",
    "item",
    "is_nonzero",
    "equal",
    "lift_fresh",
    "nonzero",
    "masked_select",
    "where",
}
# A replay would repeat the random numbers of the capture.
RANDOM = {
    "rand",
    "randn",
    "rand_like",
    "randn_like",
    "randint",
    "bernoulli",
    "bernoulli_",
    "normal_",
    "uniform_",
}


class Recording(TorchDispatchMode):
    """A list of the operations that a capture would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.operation_count = 0
        self.refused: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        # With one argument, it returns the indexes at which a tensor is true.
        if name in RANDOM or (name in WAITS and (name != "where" or len(args) == 1)):
            self.refused.add(name)
        self.operation_count += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[Recording]:
    """Return a list that gets the recording of each captured graph."""
    found: list[Recording] = []

    def capture(
        _: compilation.Compiler, work: compilation.Work, *arguments: torch.Tensor
    ) -> compilation.Work:
        work(*arguments)
        with monkeypatch.context() as patch, Recording() as recording:
            patch.setattr(import_utils, "is_cuda_stream_capturing", lambda: True)
            work(*arguments)
        found.append(recording)
        return work

    monkeypatch.setattr(compilation.Compiler, "capture_graph", capture)
    return found


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("adapter", build.ADAPTERS)
def test_it_neither_waits_for_the_device_nor_is_random(
    tmp_path: Path, recordings: list[Recording], adapter: str
) -> None:
    """Try the work in the precision that a GPU uses."""
    build.make(tmp_path / "small", adapter=adapter)
    options = {**(OPTIONS if adapter == "flux2-klein" else {}), "compile": ["64x64"]}
    model = entry(tmp_path / "small", adapter=adapter, options=options, dtype="bfloat16", sources=0)
    engine: Any = load_engine(model=replace(model, batch_limit=1, steps=2), device="cpu")
    engine.compile(backend=None)
    # The decoder, and the other graphs of the adapter.
    assert len(recordings) == {"flux2-klein": 3, "qwen-image": 1, "stable-diffusion-xl": 2}[adapter]
    for recording in recordings:
        assert recording.operation_count > 10
        assert not recording.refused


@pytest.mark.parametrize(
    "work",
    [
        lambda a: (a * a.sum().item(),),
        lambda a: (a if a.all() else -a,),
        lambda a: (a + torch.tensor([1.0, 2.0]),),
        lambda a: (a + torch.randn_like(a),),
    ],
    ids=["number", "condition", "from the host", "noise"],
)
def test_an_operation_that_a_capture_would_refuse_is_noticed(work: compilation.Work) -> None:
    with torch.inference_mode(), Recording() as recording:
        work(torch.ones(2))
    assert recording.refused
