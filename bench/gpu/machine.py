"""The device that is measured: its clock, and the sustained rate of its matrix units."""

import statistics
import time
from collections.abc import Callable

import torch


class Machine:
    """A GPU, or a CPU to try every line on."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.is_gpu = device.type == "cuda"
        # The dtype is the weights', and a product of this side fills the device.
        self.dtype = torch.bfloat16 if self.is_gpu else torch.float32
        self._side = 8192 if self.is_gpu else 512

    @property
    def name(self) -> str:
        """Return the name for people."""
        return torch.cuda.get_device_name(self.device) if self.is_gpu else "CPU"

    def wait(self) -> None:
        """Wait until the device has nothing left to do."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def measure_seconds(self, work: Callable[[], object]) -> float:
        """Return the seconds of the work, from an idle device to an idle device."""
        self.wait()
        started = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - started

    def measure_host_seconds(self, work: Callable[[], object]) -> float:
        """Return the seconds until the host has given the idle device all its work."""
        self.wait()
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        self.wait()
        return seconds

    def measure_device_seconds(self, work: Callable[[], object]) -> float:
        """Return the seconds from the first kernel to the last, by the device's clock if it has one."""
        if not self.is_gpu:
            return self.measure_seconds(work)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.wait()
        begin.record()
        work()
        end.record()
        self.wait()
        return float(begin.elapsed_time(end)) / 1000

    def measure_flop_rate(self, *, rounds: int = 5, times: int = 10) -> float:
        """Return the floating-point operations a second of large random matrix products, as a median."""
        shape = (self._side, self._side)
        a, b = (torch.randn(shape, dtype=self.dtype, device=self.device) for _ in range(2))

        def products() -> None:
            for _ in range(times):
                torch.mm(a, b)

        products()
        each = [self.measure_device_seconds(products) / times for _ in range(rounds)]
        return float(2 * self._side**3 / statistics.median(each))
