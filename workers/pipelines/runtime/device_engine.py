"""The base class of the engines that work on one device. Knows no pipeline and no stage."""

import torch

from workers.catalogue import ImageModel
from workers.pipelines.runtime.device import Device


class DeviceEngine:
    """The properties of an Engine that follow from its model and its device."""

    def __init__(self, *, model: ImageModel, device: torch.device) -> None:
        self._model = model
        self._device = Device(device)
        # How far the engine is compiled, as compilation.load_compiled found out: plain, captured or compiled.
        self.compilation = "plain"

    @property
    def batch_limit(self) -> int:
        """Return how many orders go into one batch at most, as the models file says."""
        return self._model.batch_limit

    @property
    def device_name(self) -> str:
        """Return the device's name for people."""
        return self._device.name

    @property
    def most_memory_bytes(self) -> int:
        """Return how many bytes of a GPU's memory this process has held at most, or 0 on a CPU."""
        return self._device.most_memory_bytes

    @property
    def busy_seconds(self) -> float:
        """Return for how many seconds in all the device has worked."""
        return self._device.busy_seconds
