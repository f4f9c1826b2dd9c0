"""Compiled engines make the same pictures and compile nothing later. Graphs need a GPU and are not tested here."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from torch._dynamo.utils import counters

from tests.workers.conftest import OPTIONS, entry
from tests.workers.pipelines.comparison import MIXED, SIZES, check_same_pictures
from tests.workers.pipelines.pictures import MAX_DIFFERENCE, make_order, make_pictures
from workers.engine import loading_progress
from workers.engine.interface import DeviceLost, Engine, EngineError, load_engine
from workers.engine.loading_progress import MAX_FRACTION, LoadingProgress
from workers.pipelines.flux2.engine import Flux2Klein
from workers.pipelines.runtime import attention, compilation

KERNEL_CALLS = {
    "_native_cudnn": "_scaled_dot_product_cudnn_attention",
    "_native_flash": "_scaled_dot_product_flash_attention",
    "_native_efficient": "_scaled_dot_product_efficient_attention",
    "_native_math": "_scaled_dot_product_attention_math",
}


@pytest.fixture(scope="module")
def compiled(small_model: Path) -> Iterator[Flux2Klein]:
    """Compile the engine as `load` does, but without a compiler of C++."""
    engine = load_engine(model=entry(small_model, options={**OPTIONS, "compile": SIZES}), device="cpu")
    assert isinstance(engine, Flux2Klein)
    engine.compile(backend="eager")
    yield engine
    torch.compiler.reset()


@pytest.mark.long
def test_ten_shapes_come_out_as_uncompiled_and_nothing_is_compiled_for_them(
    compiled: Flux2Klein, small_engine: Engine
) -> None:
    check_same_pictures(compiled, small_engine, MIXED)


@pytest.mark.long
def test_kernels_for_each_size_make_the_same_pictures(small_model: Path, small_engine: Engine) -> None:
    options = {**OPTIONS, "compile": ["128x128"], "compile_each_size": True}
    engine = load_engine(model=replace(entry(small_model, options=options), batch_limit=1), device="cpu")
    assert isinstance(engine, Flux2Klein)
    torch.compiler.reset()
    before = counters["stats"]["unique_graphs"]
    engine.compile(backend="eager")
    # Beside the blocks for any shape there are those for this one.
    compiled_count = counters["stats"]["unique_graphs"] - before
    check_same_pictures(engine, small_engine, [[make_order(size=(128, 128))], [make_order(size=(192, 160))]])
    torch.compiler.reset()
    plain = load_engine(
        model=replace(entry(small_model, options=options | {"compile_each_size": False}), batch_limit=1),
        device="cpu",
    )
    assert isinstance(plain, Flux2Klein)
    before = counters["stats"]["unique_graphs"]
    plain.compile(backend="eager")
    assert compiled_count == counters["stats"]["unique_graphs"] - before + 2
    torch.compiler.reset()


def test_on_a_cpu_nothing_is_compiled_and_the_log_says_so(
    small_model: Path, small_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    model = entry(small_model, options={**OPTIONS, "compile": ["1024x1024"]})
    with caplog.at_level(logging.WARNING), torch.compiler.set_stance("fail_on_recompile"):
        engine = load_engine(model=model, device="cpu")
        [picture] = make_pictures(engine, make_order())
    assert "zekron-image-1 is not compiled: compiling needs a GPU, and this device is a CPU" in caplog.text
    assert np.array_equal(picture, make_pictures(small_engine, make_order())[0])


@pytest.mark.parametrize("option", ["compile_each_size", "compile_required", "compile_tuned"])
def test_an_option_of_compiling_without_sizes_is_logged_as_unused(
    small_model: Path, caplog: pytest.LogCaptureFixture, option: str
) -> None:
    with caplog.at_level(logging.WARNING):
        load_engine(model=entry(small_model, options={**OPTIONS, option: True}), device="cpu")
    assert (
        f"zekron-image-1 has the option {option}, which has no effect without sizes in compile" in caplog.text
    )


def test_weights_that_are_offloaded_are_not_compiled(small_model: Path) -> None:
    options = {**OPTIONS, "offload": "model", "compile": ["1024x1024"]}
    with pytest.raises(EngineError, match="has offload and compile; compile needs weights that stay"):
        load_engine(model=entry(small_model, options=options), device="cpu")


def test_an_error_about_a_failing_compiler_names_the_model(small_model: Path) -> None:
    model = entry(small_model, options={**OPTIONS, "compile": ["128x128"]})
    engine = load_engine(model=model, device="cpu")
    assert isinstance(engine, Flux2Klein)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler of C++")

    with pytest.raises(EngineError, match=r"zekron-image-1 cannot be compiled: .*no compiler"):
        engine.compile(backend=broken)
    torch.compiler.reset()


def test_attention_can_be_named_and_the_picture_stays(small_model: Path, small_engine: Engine) -> None:
    options = {**OPTIONS, "attention": "_native_math"}
    engine = load_engine(model=entry(small_model, options=options), device="cpu")
    [picture], [expected] = make_pictures(engine, make_order()), make_pictures(small_engine, make_order())
    assert np.abs(picture - expected).max() <= MAX_DIFFERENCE


@pytest.mark.parametrize("name", ["the_best", "_native_cudnn", "flash"])
def test_attention_that_does_not_work_here_is_refused(small_model: Path, name: str) -> None:
    options = {**OPTIONS, "attention": name}
    with pytest.raises(EngineError, match=f"attention = '{name}' does not work here"):
        load_engine(model=entry(small_model, options=options), device="cpu")


def test_attention_that_one_model_names_is_not_that_of_others(small_model: Path) -> None:
    options = {**OPTIONS, "attention": "_native_math"}
    load_engine(model=entry(small_model, options=options), device="cpu")
    active, _ = attention._AttentionBackendRegistry.get_active_backend()
    assert active == "native"


@pytest.mark.parametrize("kernel", attention.KERNELS)
def test_attention_by_one_kernel_forbids_no_other_thread_the_others(
    kernel: AttentionBackendName, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"query": torch.ones(1, 3, 2, 8), "key": torch.ones(1, 3, 2, 8), "value": torch.ones(1, 3, 2, 8)}
    called = []
    monkeypatch.setattr(
        torch.nn.attention, "_sdpa_kernel", lambda *_: pytest.fail("the call forbids the other kernels")
    )
    monkeypatch.setattr(
        torch.ops.aten, KERNEL_CALLS[kernel.value], lambda query, *_: called.append(query.shape) or (query,)
    )
    attended = dispatch_attention_fn(**kept, backend=kernel)
    assert torch.equal(attended, kept["value"])
    assert called == [(1, 2, 3, 8)]


def test_attention_with_a_mask_is_torchs_own_choice() -> None:
    query, key, value = torch.randn(3, 2, 5, 2, 8)
    mask = torch.ones(2, 1, 1, 5, dtype=torch.bool)
    mask[0, ..., 3:] = False
    for kernel in attention.KERNELS:
        masked = dispatch_attention_fn(query, key, value, attn_mask=mask, backend=kernel)
        assert torch.equal(masked, dispatch_attention_fn(query, key, value, attn_mask=mask))


@pytest.mark.parametrize(("is_allowed", "chosen"), [(True, "_native_cudnn"), (False, "native")])
def test_the_fastest_attention_is_one_that_torch_would_choose_too(
    is_allowed: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"native": 2.0, "_native_cudnn": 1.0, "_native_flash": 3.0}
    monkeypatch.setattr(attention, "_attend", lambda _, inputs: inputs[0])
    monkeypatch.setattr(attention, "_measure_seconds", lambda name, _: seconds[name])
    for name in attention.ALLOWED_BY_TORCH:
        monkeypatch.setitem(attention.ALLOWED_BY_TORCH, name, lambda _: is_allowed)
    assert attention._find_fastest([torch.ones(1, 3, 2, 8)] * 3) == chosen


def test_a_cpu_has_one_kind_of_attention() -> None:
    assert attention.choose((1, 8, 2, 4), dtype=torch.float32, device=torch.device("cpu")) == "native"


class LadderEngine:
    """Fails to compile with these backends."""

    def __init__(self, failing: list[str | None], error: Exception | None = None) -> None:
        self.compilation = "plain"
        self._failing = failing
        self._error = error or EngineError("no compiler of C++")

    def compile(self, *, backend: str | None) -> None:
        if backend in self._failing:
            raise self._error


@pytest.mark.parametrize(
    ("failing", "state", "built"),
    [([], "compiled", 0), (["inductor"], "captured", 1), (["inductor", None], "plain", 2)],
)
def test_an_engine_that_cannot_be_compiled_is_captured_or_runs_as_it_is(
    failing: list[str | None], state: str, built: int, caplog: pytest.LogCaptureFixture
) -> None:
    engines: list[LadderEngine] = []

    def build() -> LadderEngine:
        engines.append(LadderEngine(failing))
        return engines[-1]

    engine = compilation.climb_down(build, LadderEngine(failing), name="zekron-image-1", is_required=False)
    assert engine.compilation == state
    # What a failed compiler has changed is not used.
    assert len(engines) == built
    assert not engines or engine is engines[-1]
    assert caplog.text.count("will be slower: no compiler of C++") == built


def test_a_worker_that_must_be_compiled_or_has_lost_its_device_tries_nothing_else() -> None:
    with pytest.raises(EngineError, match="no compiler"):
        compilation.climb_down(
            pytest.fail, LadderEngine(["inductor"]), name="zekron-image-1", is_required=True
        )
    with pytest.raises(DeviceLost):
        compilation.climb_down(
            pytest.fail, LadderEngine(["inductor"], DeviceLost("gone")), name="m", is_required=False
        )


class Doubler(torch.nn.Module):
    """A module of this file, because torch compiles none of its own alone."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return 2 * values


def test_after_compiling_nothing_more_is_compiled_in_the_process() -> None:
    linear = Doubler()
    linear.compile(backend="eager", dynamic=False)
    compilation.run_tasks("zekron-image-1", [("one row", lambda: linear(torch.ones(1, 8)))])
    before = counters["stats"]["unique_graphs"]
    assert linear(torch.ones(5, 8)).shape == (5, 8)
    assert counters["stats"]["unique_graphs"] == before


def test_each_compiled_task_is_told() -> None:
    told: list[object] = []
    progress = LoadingProgress(model_count=1, on_change=lambda: told.append(progress.fraction))
    with progress.follow_model():
        loading_progress.plan(loading_progress.COMPILING)
        compilation.run_tasks("zekron-image-1", [(str(number), lambda: None) for number in range(4)])
        assert (progress.stage, told) == ("compiling", [0.0, 0.25, 0.5, 0.75, MAX_FRACTION])


def test_no_task_is_begun_after_the_time_is_over() -> None:
    done = compilation.run_tasks("zekron-image-1", [("one", pytest.fail)], until=0.0)
    assert done == []


def test_a_process_can_compile_many_models_of_one_class() -> None:
    modules = [Doubler() for _ in range(12)]
    for module in modules:
        module.compile(backend="eager", dynamic=False, fullgraph=True)
    tasks = [
        (str(rows), partial(module, torch.ones(rows, 8))) for rows, module in enumerate(modules, start=1)
    ]
    assert len(compilation.run_tasks("zekron-image-1", tasks)) == len(modules)
    torch.compiler.reset()
