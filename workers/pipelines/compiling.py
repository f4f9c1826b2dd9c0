"""Makes what a device does again and again fast: fused by torch.compile, and on a GPU recorded as graphs."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from workers.pipelines.device import Device

logger = logging.getLogger(__name__)

# Takes tensors of one shape each, gives others; knows nothing that changes from call to call but its arguments.
Work = Callable[..., tuple[torch.Tensor, ...]]

# Before a graph is recorded: what is compiled, measured or allocated once must be over.
RUNS_BEFORE = 3
# Of one class in this process; torch's own limit is 8.
MOST_SHAPES = 64


class Compiler:
    """For one thread's work on one device. What it recorded shares memory, and must not run side by side."""

    def __init__(self, device: Device, *, backend: str | None = "inductor") -> None:
        """`backend` is torch.compile's; without one nothing is fused."""
        self._device = device
        self._backend = backend
        self._pool = torch.cuda.graph_pool_handle() if device.is_gpu else None
        self._stream = torch.cuda.Stream(device.target) if device.is_gpu else None

    def fuse(self, modules: Iterable[torch.nn.Module], *, dynamic: bool) -> None:
        """Compiles the modules when they are called next: of a class once, for each shape or for any (`dynamic`)."""
        if self._backend is None:
            return
        for module in modules:
            module.compile(backend=self._backend, fullgraph=True, dynamic=dynamic)

    def fused(self, module: torch.nn.Module) -> Callable[..., Any]:
        """The module, compiled for each shape that it is called with; itself it stays as it is."""
        if self._backend is None:
            return module
        made: Callable[..., Any] = torch.compile(module, backend=self._backend, fullgraph=True, dynamic=False)
        return made

    def recorded(self, work: Work, *arguments: torch.Tensor) -> Work:
        """The same work for tensors of these shapes, started by the host at once instead of kernel by kernel.

        Without a GPU it is run, so that it is compiled, and returned as it is.
        """
        with torch._dynamo.config.patch(recompile_limit=MOST_SHAPES):
            if self._stream is None:
                work(*arguments)
                return work
            return _Graph(work, arguments, stream=self._stream, pool=self._pool)


class _Graph:
    """Work as it was recorded: always on the same tensors, so arguments are copied in and results out."""

    def __init__(
        self, work: Work, arguments: tuple[torch.Tensor, ...], *, stream: torch.cuda.Stream, pool: Any
    ) -> None:
        self._arguments = [argument.clone() for argument in arguments]
        self._graph = torch.cuda.CUDAGraph()
        stream.wait_stream(torch.cuda.current_stream(stream.device))
        with torch.cuda.stream(stream), _fastest_convolutions():
            for _ in range(RUNS_BEFORE):
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
def _fastest_convolutions() -> Iterator[None]:
    """cuDNN tries its ways before the recording, and the recording keeps the fastest."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
