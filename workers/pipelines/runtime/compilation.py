"""Makes what a device does again and again fast: fused by torch.compile, and on a GPU recorded as graphs."""

import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Protocol

import torch
from torch.utils import _pytree as pytree

from workers.engine.interface import EngineError
from workers.pipelines.runtime.device import Device

log = logging.getLogger(__name__)

# Takes tensors of one shape each, gives others; knows nothing that changes from call to call but its arguments.
Work = Callable[..., tuple[torch.Tensor, ...]]

# What is being compiled, for people, and how.
Task = tuple[str, Callable[[], object]]

# Before a graph is recorded: what is compiled, measured or allocated once must be over.
WARMUP_RUNS: Final = 3
# Of one class in this process; torch's own limit is 8.
MAX_SHAPES: Final = 64


class CompilableEngine(Protocol):
    """An engine that can be compiled."""

    def compile(self) -> None:
        """Takes minutes. Raises EngineError."""
        ...


def compile_on_gpu(
    engine: CompilableEngine, *, sizes: Sequence[str], device: torch.device, name: str
) -> None:
    """Compiles a model's engine if its entry names sizes; on a CPU a line says that this is not done."""
    if sizes and device.type == "cpu":
        log.warning("%s is not compiled: that is for a GPU, and this is a CPU", name)
    elif sizes:
        engine.compile()


def run_tasks(name: str, tasks: Sequence[Task]) -> None:
    """Does all that a model's engine is compiled by, which takes minutes, and says so. Raises EngineError."""
    for number, (name_of_task, task) in enumerate(tasks, start=1):
        log.info("%s: compiling %s, %d of %d", name, name_of_task, number, len(tasks))
        try:
            task()
        except EngineError:
            raise
        except Exception as error:
            # Compilers have kinds of errors of their own, and so have their parts.
            reason = " ".join(str(error).split())
            raise EngineError(f"the model {name} cannot be compiled: {reason}") from error
    log.info("%s is compiled", name)


class Compiler:
    """For one thread's work on one device. What it recorded shares memory, and must not run side by side."""

    def __init__(self, device: Device, *, backend: str | None = "inductor") -> None:
        """`backend` is torch.compile's; without one nothing is fused."""
        self._device = device
        self._backend = backend
        self._pool = torch.cuda.graph_pool_handle() if device.is_gpu else None
        self._stream = torch.cuda.Stream(device.target) if device.is_gpu else None

    def compile(self, modules: Iterable[torch.nn.Module], *, dynamic: bool) -> None:
        """Compiles the modules when they are called next: of a class once, for each shape or for any (`dynamic`)."""
        if self._backend is None:
            return
        for module in modules:
            module.compile(backend=self._backend, fullgraph=True, dynamic=dynamic)

    def compile_blocks(self, model: Any) -> None:
        """The same for what diffusers says is repeated in a model of its own, for any shape."""
        if self._backend is not None:
            model.compile_repeated_blocks(backend=self._backend, fullgraph=True, dynamic=True)

    def compile_copy(self, module: torch.nn.Module) -> Callable[..., Any]:
        """The module, compiled for each shape that it is called with; itself it stays as it is."""
        if self._backend is None:
            return module
        compiled: Callable[..., Any] = torch.compile(
            module, backend=self._backend, fullgraph=True, dynamic=False
        )
        return compiled

    def capture_graph(self, work: Work, *arguments: torch.Tensor) -> Work:
        """The same work for tensors of these shapes, started by the host at once instead of kernel by kernel.

        Without a GPU it is run, so that it is compiled, and returned as it is.
        """
        with self.allow_many_shapes():
            if self._stream is None:
                work(*arguments)
                return work
            return _Graph(work, arguments, stream=self._stream, pool=self._pool)

    def allow_many_shapes(self) -> AbstractContextManager[object]:
        """Around calls by which what is fused is compiled."""
        patch: AbstractContextManager[object] = torch._dynamo.config.patch(recompile_limit=MAX_SHAPES)
        return patch


class GraphedForward:
    """In place of a module's `forward`: what it was called with while it learned is replayed from then on.

    A call is known by the shapes of its tensors and by its other arguments; its result is a tuple of tensors.
    """

    def __init__(self, module: torch.nn.Module, compiler: Compiler) -> None:
        """Learns until `is_capturing` is set to False."""
        self._forward = module.forward
        self._compiler = compiler
        self._graphs: dict[Any, Work] = {}
        self.is_capturing = True
        module.forward = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the module makes of it."""
        leaves, form = pytree.tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        key = (str(form), tuple(_describe(leaf) for leaf in leaves))
        if key not in self._graphs and not self.is_capturing:
            return self._forward(*args, **kwargs)
        if key not in self._graphs:
            self._graphs[key] = self._compiler.capture_graph(self._bind(leaves, form), *tensors)
        return self._graphs[key](*tensors)

    def _bind(self, leaves: Sequence[Any], form: pytree.TreeSpec) -> Work:
        held = [None if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        tensor_indexes = [index for index, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]

        def work(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            given = list(held)
            for index, tensor in zip(tensor_indexes, tensors, strict=True):
                given[index] = tensor
            args, kwargs = pytree.tree_unflatten(given, form)
            result: tuple[torch.Tensor, ...] = self._forward(*args, **kwargs)
            return result

        return work


def _describe(leaf: Any) -> Any:
    return (leaf.shape, leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf


class _Graph:
    """Work as it was recorded: always on the same tensors, so arguments are copied in and results out."""

    def __init__(
        self, work: Work, arguments: tuple[torch.Tensor, ...], *, stream: torch.cuda.Stream, pool: Any
    ) -> None:
        # Its tensors are read at every replay: they must stay where they were, whoever else lets go of them.
        self._work = work
        self._arguments = [argument.clone() for argument in arguments]
        self._graph = torch.cuda.CUDAGraph()
        stream.wait_stream(torch.cuda.current_stream(stream.device))
        with torch.cuda.stream(stream), _benchmark_convolutions(), _pause_garbage_collection():
            for _ in range(WARMUP_RUNS):
                work(*self._arguments)
            # Other threads may use the device meanwhile, for another model.
            with torch.cuda.graph(self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                self._results = work(*self._arguments)
        torch.cuda.current_stream(stream.device).wait_stream(stream)

    def __call__(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        for held, given in zip(self._arguments, arguments, strict=True):
            held.copy_(given)
        self._graph.replay()
        return tuple(result.clone() for result in self._results)


@contextmanager
def _benchmark_convolutions() -> Iterator[None]:
    """cuDNN tries its ways before the recording, and the recording keeps the fastest."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def _pause_garbage_collection() -> Iterator[None]:
    """What is collected may hold events and graphs of the device, and ending those would end a recording."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
