"""`python -m workers.pipelines.runtime.list_devices`: the visible GPUs, one a line, or the CPU.

A process of its own asks it, for torch takes hundreds of megabytes.
"""

import sys

import torch


def list_devices() -> list[str]:
    """As DEVICE names them."""
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]


if __name__ == "__main__":
    sys.stdout.write("\n".join(list_devices()))
