"""The command `python -m workers.pipelines.runtime.list_devices`: it prints each visible GPU on a line, or the CPU.

It is a process of its own because torch takes hundreds of megabytes.
"""

import sys

import torch


def list_devices() -> list[str]:
    """Return the devices by the names that DEVICE takes."""
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]


if __name__ == "__main__":
    sys.stdout.write("\n".join(list_devices()))
