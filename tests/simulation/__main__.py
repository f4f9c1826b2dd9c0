"""`make simulate`: SIMULATE_SEEDS scenarios from SIMULATE_FIRST on."""

import os
import sys
from pathlib import Path

import django

VAR_DIR = Path(__file__).resolve().parent.parent.parent / "var"


def main() -> int:
    """Run the simulation, and return the exit status: 0 when nothing was violated."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zekron_api.settings")
    django.setup()
    # Both read the settings as they are imported.
    from tests.simulation import run_many  # noqa: PLC0415
    from zekron_api.local import servers  # noqa: PLC0415

    first, count = int(os.environ["SIMULATE_FIRST"]), int(os.environ["SIMULATE_SEEDS"])
    with servers.running(VAR_DIR):
        return run_many.simulate(seeds=range(first, first + count))


if __name__ == "__main__":
    sys.exit(main())
