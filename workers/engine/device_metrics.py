"""The metrics of the devices of this process. The module knows no device and no database."""

from typing import Final

from prometheus_client import Gauge

# An engine on a GPU sets the functions.
GPU_MEMORY_BYTES: Final = Gauge(
    "zekron_gpu_memory_bytes",
    "Memory of the GPU: allocated to tensors, reserved by this process, and in all.",
    labelnames=["device", "kind"],
)
