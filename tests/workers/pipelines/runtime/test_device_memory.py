"""The metrics of a GPU's memory, with a stand-in for the GPU."""

from types import SimpleNamespace

import pytest
import torch
from prometheus_client import REGISTRY

from workers.pipelines.runtime import device_memory


def test_the_memory_of_a_gpu_is_read_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    target, held = torch.device("cuda:7"), {"allocated": 1, "reserved": 2}
    monkeypatch.setattr(
        device_memory, "_READ", {kind: lambda _, kind=kind: held[kind] for kind in ("allocated", "reserved")}
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80))
    device_memory.expose(target)
    held["allocated"] = 30
    found = {
        kind: REGISTRY.get_sample_value("zekron_gpu_memory_bytes", {"device": "cuda:7", "kind": kind})
        for kind in ("allocated", "reserved", "total")
    }
    assert found == {"allocated": 30, "reserved": 2, "total": 80}
