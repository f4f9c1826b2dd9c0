"""One device that the stages of an engine share, with a stream for each thread and copies that nobody waits for.

On a CPU, the same calls do their work at once.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, Generic, NamedTuple, TypeVar

import torch

from workers.engine.interface import DeviceLost, OutOfDeviceMemory
from workers.pipelines.runtime import device_memory
from workers.pipelines.runtime.device_timer import DeviceTimer

# A side stage is short, and a picture waits for it, so it goes before the main stage. The default priority is 0.
SIDE_PRIORITY: Final = -1
MAIN_PRIORITY: Final = 0

Tensors = TypeVar("Tensors", bound=tuple[Any, ...])


class HandedOver(NamedTuple, Generic[Tensors]):
    """Tensors on their way from one stage to the next, and the event after which they are ready."""

    tensors: Tensors
    ready: torch.cuda.Event | None


class Device:
    """A CPU or a GPU. Each thread that works beside the main stage has a stream of its own."""

    def __init__(self, target: torch.device) -> None:
        self.target = target
        self._is_gpu = target.type == "cuda"
        self._streams = threading.local()
        self._timer = DeviceTimer(target)
        if self._is_gpu:
            device_memory.expose(target)

    @property
    def name(self) -> str:
        """Return the name for people, such as `NVIDIA H200 (cuda:0)`."""
        return (
            f"{torch.cuda.get_device_name(self.target)} ({self.target})" if self._is_gpu else str(self.target)
        )

    @property
    def is_gpu(self) -> bool:
        """Return True if the device works beside the host, in streams."""
        return self._is_gpu

    @property
    def most_memory_bytes(self) -> int:
        """Return how many bytes of a GPU's memory this process has held at most, or 0 on a CPU."""
        return torch.cuda.max_memory_reserved(self.target) if self._is_gpu else 0

    @property
    def busy_seconds(self) -> float:
        """Return for how many seconds in all the device has worked inside `measure_work`."""
        return self._timer.seconds

    def measure_work(self) -> AbstractContextManager[None]:
        """Return a context whose device work counts as busy. Put nothing in it that only the host does."""
        return self._timer.measure_work()

    @contextmanager
    def enter_main_stage(self) -> Iterator[None]:
        """Run the main stage without gradients, and turn an error that loses the device into DeviceLost."""
        with self._detect_device_loss(), self._select_gpu(), torch.inference_mode():
            yield

    @contextmanager
    def enter_side_stage(self) -> Iterator[None]:
        """Run a stage beside the main one, in this thread's own stream, under the same rules."""
        with self._detect_device_loss(), torch.inference_mode():
            if not self._is_gpu:
                yield
                return
            if not hasattr(self._streams, "own"):
                self._streams.own = torch.cuda.Stream(self.target, priority=SIDE_PRIORITY)
            with torch.cuda.stream(self._streams.own):
                yield

    def hand_over(self, tensors: Tensors) -> HandedOver[Tensors]:
        """Return this stage's result for another stage; it need not be computed yet."""
        if not self._is_gpu:
            return HandedOver(tensors, None)
        ready = torch.cuda.Event()
        ready.record(torch.cuda.current_stream(self.target))
        return HandedOver(tensors, ready)

    def take_over(self, handed_over: HandedOver[Tensors]) -> Tensors:
        """Return another stage's result for use in this thread's stream. The host does not wait for it."""
        if handed_over.ready is not None:
            stream = torch.cuda.current_stream(self.target)
            stream.wait_event(handed_over.ready)
            for tensor in handed_over.tensors:
                # The allocator must not reuse its memory while this stream may still read it.
                if isinstance(tensor, torch.Tensor):
                    tensor.record_stream(stream)
        return handed_over.tensors

    def to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor on the device, copied from pinned memory so that other work can go on."""
        if not self._is_gpu or tensor.is_cuda:
            return tensor.to(self.target)
        return tensor.pin_memory().to(self.target, non_blocking=True)

    def to_host(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """Return the tensors on the host, after one wait for all of them."""
        if not self._is_gpu:
            return list(tensors)
        copies = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
        for copy, tensor in zip(copies, tensors, strict=True):
            copy.copy_(tensor, non_blocking=True)
        torch.cuda.current_stream(self.target).synchronize()
        return copies

    def _select_gpu(self) -> AbstractContextManager[object]:
        # In a new thread the first GPU is current, which may not be this one.
        return torch.cuda.device(self.target) if self._is_gpu else nullcontext()

    @contextmanager
    def _detect_device_loss(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise OutOfDeviceMemory(str(error).partition("\n")[0]) from error
        except RuntimeError as error:
            if self._is_responsive():
                raise
            raise DeviceLost(str(error)) from error

    def _is_responsive(self) -> bool:
        try:
            return float(torch.ones(1, device=self.target).sum().cpu()) == 1.0
        except RuntimeError:
            return False
