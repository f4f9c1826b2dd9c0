"""The FastAPI server as a real process."""

import importlib.util
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench import subprocesses
from bench.benchmark import Skipped
from zekron_api.local.run import free_port


@contextmanager
def run(factory: str, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """Run the server of this function of `fastapi_server`, and give its port. Raise Skipped without FastAPI."""
    if importlib.util.find_spec("fastapi") is None:
        raise Skipped("FastAPI is not installed; run `make bench` to install bench/requirements.txt")
    port = free_port()
    command = subprocesses.build_python_command(
        *("-m", "uvicorn", "--factory", f"bench.baselines.fastapi_server:{factory}"),
        *("--no-access-log", "--port", str(port)),
    )
    with tempfile.TemporaryDirectory(prefix="zekron-bench-") as name:
        folder = Path(name)
        with subprocesses.run(
            "fastapi", command, folder=folder, environment={**os.environ, **(environment or {})}
        ) as process:
            subprocesses.wait_until_up(process, port=port, path="/healthz", log=folder / "fastapi.log")
            yield port
