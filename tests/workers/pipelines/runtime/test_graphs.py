"""Graphs always run on the same tensors, which must mix up neither arguments nor results.

There is no GPU here. Instead, a replay runs the work again on the tensors of the capture.
"""

import gc
import weakref
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.workers.conftest import OPTIONS, entry
from tests.workers.pipelines.comparison import MIXED, SIZES
from tests.workers.pipelines.pictures import (
    MAX_DIFFERENCE,
    RED,
    make_order,
    make_pictures,
    make_pictures_in_batcher,
)
from workers.engine.interface import Engine, load_engine
from workers.pipelines.diffusers.engine import StagedPipelineEngine
from workers.pipelines.flux2.engine import Flux2Klein, load
from workers.pipelines.runtime import compilation
from workers.pipelines.tiny import build

STREAM: Any = SimpleNamespace(wait_stream=lambda _: None, device=None)


class OnCpu(compilation._Graph):
    """A graph that a CPU can replay. `replays` counts the replays of all graphs."""

    replays = 0

    def __init__(self, work: compilation.Work, *arguments: torch.Tensor) -> None:
        super().__init__(work, arguments, stream=STREAM, pool=None)

        def replay() -> None:
            OnCpu.replays += 1
            for held, given in zip(self._results, work(*self._arguments), strict=True):
                held.copy_(given)

        self._graph: Any = SimpleNamespace(replay=replay)


@pytest.fixture(autouse=True)
def without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("graph", "stream"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", SimpleNamespace)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: STREAM)
    monkeypatch.setattr(compilation.Compiler, "capture_graph", lambda _, work, *given: OnCpu(work, *given))
    monkeypatch.setattr(OnCpu, "replays", 0)


def test_a_result_stays_as_it_was_when_the_next_is_made() -> None:
    graph = OnCpu(lambda a, b: (a + b,), torch.zeros(2), torch.zeros(2))
    [first] = graph(torch.ones(2), torch.ones(2))
    [second] = graph(first, torch.ones(2))
    assert (first.tolist(), second.tolist()) == ([2, 2], [3, 3])


def test_the_arguments_of_a_capture_do_not_change() -> None:
    given = torch.zeros(2)
    OnCpu(lambda a: (a + 1,), given)(torch.ones(2))
    assert given.tolist() == [0, 0]


def test_a_graph_keeps_the_tensors_that_it_reads() -> None:
    table = torch.ones(2)
    seen = weakref.ref(table)
    graph = compilation._Graph(lambda a, b=table: (a + b,), (torch.zeros(2),), stream=STREAM, pool=None)
    del table
    assert seen() is not None
    del graph
    assert seen() is None


def test_no_garbage_is_collected_during_a_capture() -> None:
    collects = []
    OnCpu(lambda a: (collects.append(gc.isenabled()) or a,), torch.zeros(2))
    assert not any(collects)
    assert gc.isenabled()


def test_the_setting_for_convolutions_is_restored() -> None:
    before = torch.backends.cudnn.benchmark
    OnCpu(lambda a: (a + 1,), torch.zeros(2))
    assert torch.backends.cudnn.benchmark is before


@pytest.mark.long
def test_an_engine_of_graphs_makes_the_same_pictures(small_model: Path, small_engine: Engine) -> None:
    model = entry(small_model, options={**OPTIONS, "compile": SIZES})
    engine = load(model=model, device="cpu")
    assert isinstance(engine, Flux2Klein)
    engine.compile(backend=None)
    [first] = make_pictures(engine, make_order("a fox", size=(128, 128)))
    # A prompt, four steps, and a decoding.
    assert OnCpu.replays == 1 + model.steps + 1
    for orders in MIXED:
        for picture, expected in zip(
            make_pictures_in_batcher(engine, orders, max_queue_delay_seconds=1.0),
            make_pictures(small_engine, *orders),
            strict=True,
        ):
            assert np.abs(picture - expected).max() <= MAX_DIFFERENCE
    [again] = make_pictures(engine, make_order("a fox", size=(128, 128)))
    assert np.array_equal(first, again)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_unets_graphs_serve_creates_and_edits_of_their_sizes_and_no_others(tmp_path: Path) -> None:
    build.make(tmp_path / "xl", adapter="stable-diffusion-xl")
    model = entry(tmp_path / "xl", adapter="stable-diffusion-xl", options={"compile": ["128x128"]}, sources=1)
    engine, plain = (load_engine(model=model, device="cpu") for _ in range(2))
    assert isinstance(engine, StagedPipelineEngine)
    engine.compile(backend=None)
    # Four steps, of an edit two; and a decoding for each picture.
    for orders, replays in (
        ([make_order(size=(128, 128))], 4 + 1),
        ([make_order(size=(128, 128), sources=[RED])], 2 + 1),
        ([make_order(seed=seed, size=(128, 128)) for seed in range(3)], 4 + 3),
        ([make_order(size=(128, 160))], 0),
    ):
        OnCpu.replays = 0
        pictures = make_pictures(engine, *orders)
        assert OnCpu.replays == replays
        for picture, expected in zip(pictures, make_pictures(plain, *orders), strict=True):
            assert np.abs(picture - expected).max() <= MAX_DIFFERENCE
