"""One device as the stages of an engine share it: streams side by side, copies that nobody waits for. On a CPU the
same calls do just what they say, in turn.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Generic, NamedTuple, TypeVar

import torch

from workers.engine.interface import DeviceLost
from workers.pipelines.runtime.device_timer import DeviceTimer

Tensors = TypeVar("Tensors", bound=tuple[Any, ...])


class HandedOver(NamedTuple, Generic[Tensors]):
    """Tensors on their way from one stage to the next, and when they will be there."""

    tensors: Tensors
    ready: torch.cuda.Event | None


class Device:
    """A CPU or a GPU. Each thread that works beside the main stage has a stream of its own."""

    def __init__(self, target: torch.device) -> None:
        self.target = target
        self._is_gpu = target.type == "cuda"
        self._streams = threading.local()
        self._timer = DeviceTimer(target)

    @property
    def name(self) -> str:
        """What people call it: `NVIDIA H200 (cuda:0)`."""
        return (
            f"{torch.cuda.get_device_name(self.target)} ({self.target})" if self._is_gpu else str(self.target)
        )

    @property
    def is_gpu(self) -> bool:
        """Whether it works beside the host, in streams."""
        return self._is_gpu

    @property
    def busy_seconds(self) -> float:
        """How long it has worked in all for what is `measure_work`."""
        return self._timer.seconds

    def measure_work(self) -> AbstractContextManager[None]:
        """Around the calls that give the device its work, and nothing that only the host does."""
        return self._timer.measure_work()

    @contextmanager
    def enter_main_stage(self) -> Iterator[None]:
        """Around the main stage: no gradients, and an error after which the device is of no more use is DeviceLost."""
        with self._detect_device_loss(), self._select_gpu(), torch.inference_mode():
            yield

    @contextmanager
    def enter_side_stage(self) -> Iterator[None]:
        """The same around a stage that runs beside it, in this thread's own stream."""
        with self._detect_device_loss(), torch.inference_mode():
            if not self._is_gpu:
                yield
                return
            if not hasattr(self._streams, "own"):
                self._streams.own = torch.cuda.Stream(self.target)
            with torch.cuda.stream(self._streams.own):
                yield

    def hand_over(self, tensors: Tensors) -> HandedOver[Tensors]:
        """What this stage hands on; it need not be computed yet."""
        if not self._is_gpu:
            return HandedOver(tensors, None)
        ready = torch.cuda.Event()
        ready.record(torch.cuda.current_stream(self.target))
        return HandedOver(tensors, ready)

    def take_over(self, handed_over: HandedOver[Tensors]) -> Tensors:
        """What another stage has handed on, for use in this thread's stream; the host does not wait for it."""
        if handed_over.ready is not None:
            stream = torch.cuda.current_stream(self.target)
            stream.wait_event(handed_over.ready)
            for tensor in handed_over.tensors:
                # Its memory must not be given away while this stream may still read it.
                if isinstance(tensor, torch.Tensor):
                    tensor.record_stream(stream)
        return handed_over.tensors

    def to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor on the device; from pinned memory, so that the copy runs beside other work."""
        if not self._is_gpu or tensor.is_cuda:
            return tensor.to(self.target)
        return tensor.pin_memory().to(self.target, non_blocking=True)

    def to_host(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """The tensors on the host, after one wait for all of them."""
        if not self._is_gpu:
            return list(tensors)
        copies = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]
        for copy, tensor in zip(copies, tensors, strict=True):
            copy.copy_(tensor, non_blocking=True)
        torch.cuda.current_stream(self.target).synchronize()
        return copies

    def _select_gpu(self) -> AbstractContextManager[object]:
        # A new thread's current GPU is the first one, whichever this is.
        return torch.cuda.device(self.target) if self._is_gpu else nullcontext()

    @contextmanager
    def _detect_device_loss(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise
        except RuntimeError as error:
            if self._is_responsive():
                raise
            raise DeviceLost(str(error)) from error

    def _is_responsive(self) -> bool:
        try:
            return float(torch.ones(1, device=self.target).sum().cpu()) == 1.0
        except RuntimeError:
            return False
