"""Compilation of repeated work with torch.compile, and its capture as CUDA graphs. Knows no model."""

import gc
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

import torch
from torch.utils import _pytree as pytree

from workers.engine import loading_progress
from workers.engine.interface import DeviceLost, EngineError
from workers.pipelines.runtime.device import Device

log = logging.getLogger(__name__)

# Takes tensors of fixed shapes and returns tensors. Depends on nothing that changes but its arguments.
Work = Callable[..., tuple[torch.Tensor, ...]]

# A name for people, and the call that compiles it.
Task = tuple[str, Callable[[], object]]

# Calls a module with its keyword arguments.
Caller = Callable[..., Any]

# Everything that is compiled, measured or allocated only once must be done before a capture.
WARMUP_RUNS: Final = 3
# For one class in this process, of all its models and sizes. torch's own limit is 8.
MAX_SHAPES: Final = 256


class CompilableEngine(Protocol):
    """An engine that can be compiled. `compilation` says how far it is."""

    compilation: str

    def compile(self, *, backend: str | None) -> object:
        """Compile the engine, which takes minutes. Raise EngineError."""
        ...


AnyEngine = TypeVar("AnyEngine", bound=CompilableEngine)

# torch.compile's backend, and the name for people: fused and captured as graphs, or captured alone.
RUNGS: Final[tuple[tuple[str | None, str], ...]] = (("inductor", "compiled"), (None, "captured"))


def load_compiled(
    build: Callable[[], AnyEngine], *, options: Mapping[str, Any], device: torch.device, name: str
) -> AnyEngine:
    """Return a model's engine, compiled as far as this machine can if its entry names sizes.

    On a CPU nothing is compiled, which is logged. If compiling fails, `build` makes another engine, which is captured
    as graphs alone or runs as it is. With the option `compile_required`, it raises EngineError instead.
    """
    if not options["compile"]:
        for option in (each for each in options if each.startswith("compile_") and options[each]):
            log.warning("%s has the option %s, which has no effect without sizes in compile", name, option)
        return build()
    if device.type == "cpu":
        log.warning("%s is not compiled: compiling needs a GPU, and this device is a CPU", name)
        return build()
    loading_progress.plan(loading_progress.WEIGHTS, loading_progress.COMPILING)
    return climb_down(build, build(), name=name, is_required=options["compile_required"])


def climb_down(
    build: Callable[[], AnyEngine], engine: AnyEngine, *, name: str, is_required: bool
) -> AnyEngine:
    """Return the engine with the first of RUNGS that works, or another one as it is built."""
    for backend, compilation in RUNGS:
        try:
            engine.compile(backend=backend)
        except DeviceLost:
            raise
        except EngineError as error:
            if is_required:
                raise
            log.error("%s is not %s and will be slower: %s", name, compilation, error)
        else:
            engine.compilation = compilation
            return engine
        # What the compiler has changed in the engine cannot be taken back, and there is no room for two.
        del engine
        gc.collect()
        torch.cuda.empty_cache()
        engine = build()
    return engine


def run_tasks(name: str, tasks: Sequence[Task], *, until: float = math.inf) -> list[str]:
    """Run and log the compile tasks of a model's engine, which takes minutes. Raise EngineError.

    No task is begun after `until`, on the monotonic clock. Return the names of the tasks that were run. Afterwards
    nothing is compiled in this process: a call for which the compiled code does not do runs as if not compiled.
    """
    done: list[str] = []
    loading_progress.expect(loading_progress.COMPILING, len(tasks))
    torch.compiler.set_stance("default")
    torch._dynamo.config.recompile_limit = MAX_SHAPES
    try:
        for number, (name_of_task, task) in enumerate(tasks, start=1):
            if time.monotonic() > until:
                log.warning("%s: no time is left to compile %s and what follows", name, name_of_task)
                return done
            log.info("%s: compiling %s, %d of %d", name, name_of_task, number, len(tasks))
            _run_task(name, task)
            done.append(name_of_task)
            loading_progress.advance(loading_progress.COMPILING)
    finally:
        # Otherwise an unusual shape would stop a stage for a minute.
        torch.compiler.set_stance("eager_on_recompile")
    log.info("%s is compiled", name)
    return done


def _run_task(name: str, task: Callable[[], object]) -> None:
    try:
        task()
    except EngineError:
        raise
    except Exception as error:
        # Each compiler raises exceptions of its own classes.
        reason = " ".join(str(error).split())
        raise EngineError(f"the model {name} cannot be compiled: {reason}") from error


class Compiler:
    """The compiler of one thread's work on one device.

    All graphs that it captures share memory, so two of them must not run at the same time.
    """

    def __init__(
        self,
        device: Device,
        *,
        backend: str | None = "inductor",
        options: Mapping[str, Any] | None = None,
        priority: int = 0,
    ) -> None:
        """Take torch.compile's `backend` and its options; with None, nothing is fused.

        The kernels of captured graphs have the stream priority `priority`.
        """
        self._device = device
        self._backend = backend
        self._options = dict(options) if options else None
        self._pool = torch.cuda.graph_pool_handle() if device.is_gpu else None
        self._stream = torch.cuda.Stream(device.target, priority=priority) if device.is_gpu else None

    def compile(self, modules: Iterable[torch.nn.Module], *, dynamic: bool) -> None:
        """Mark the modules to be compiled when they are next called.

        A class is compiled once, for each shape that it is called with, or for any shape (`dynamic`).
        """
        if self._backend is None:
            return
        for module in modules:
            module.compile(backend=self._backend, fullgraph=True, dynamic=dynamic, options=self._options)

    def compile_blocks(self, model: Any) -> None:
        """Do the same for the blocks that diffusers knows to repeat in one of its models, for any shape."""
        if self._backend is not None:
            model.compile_repeated_blocks(
                backend=self._backend, fullgraph=True, dynamic=True, options=self._options
            )

    def compile_forwards(self, modules: Iterable[torch.nn.Module]) -> Caller:
        """Return a call of these modules that is compiled for each shape; the modules themselves do not change."""
        if self._backend is None:
            return call
        forwards = {
            kind: torch.compile(
                kind.forward, backend=self._backend, fullgraph=True, dynamic=False, options=self._options
            )
            for kind in {type(module) for module in modules}
        }
        return lambda module, **arguments: forwards[type(module)](module, **arguments)

    def compile_copy(self, module: torch.nn.Module) -> Callable[..., Any]:
        """Return the module compiled for each shape that it is called with; the module itself does not change."""
        if self._backend is None:
            return module
        compiled: Callable[..., Any] = torch.compile(
            module, backend=self._backend, fullgraph=True, dynamic=False, options=self._options
        )
        return compiled

    def capture_graph(self, work: Work, *arguments: torch.Tensor) -> Work:
        """Return the same work for tensors of these shapes, launched as one graph instead of kernel by kernel.

        Without a GPU, the work is run once, so that it is compiled, and returned as it is.
        """
        if self._stream is None:
            work(*arguments)
            return work
        return _Graph(work, arguments, stream=self._stream, pool=self._pool)


def call(module: torch.nn.Module, **arguments: Any) -> Any:
    """Call the module as it is."""
    return module(**arguments)


class GraphedForward:
    """A replacement of a module's `forward` that replays graphs.

    While `is_capturing`, each new kind of call is captured; later, kinds that are not known run as usual. Calls are
    of one kind if the shapes of their tensors and their other arguments are equal. A result is a tuple of tensors.
    """

    def __init__(self, module: torch.nn.Module, compiler: Compiler) -> None:
        """Replace the module's `forward`, and capture until `is_capturing` is set to False."""
        self._forward = module.forward
        self._compiler = compiler
        self._graphs: dict[Any, Work] = {}
        self.is_capturing = True
        module.forward = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result of the module's own `forward`."""
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
    """A captured graph. It always runs on the same tensors, so arguments are copied in and results out."""

    def __init__(
        self, work: Work, arguments: tuple[torch.Tensor, ...], *, stream: torch.cuda.Stream, pool: Any
    ) -> None:
        # Every replay reads the tensors that the work holds, so they must not be freed.
        self._work = work
        self._arguments = [argument.clone() for argument in arguments]
        self._graph = torch.cuda.CUDAGraph()
        stream.wait_stream(torch.cuda.current_stream(stream.device))
        with torch.cuda.stream(stream), _benchmark_convolutions(), _pause_garbage_collection():
            for _ in range(WARMUP_RUNS):
                work(*self._arguments)
            # Another model may use the device in another thread at the same time.
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
    """Let cuDNN try its algorithms before the capture, which keeps the fastest."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def _pause_garbage_collection() -> Iterator[None]:
    """Collect no garbage: it may hold events and graphs, and destroying those would end a capture."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
