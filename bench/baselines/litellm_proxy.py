"""LiteLLM's proxy before a backend that costs nothing, in a virtual environment of its own."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from bench import subprocesses
from bench.benchmark import Skipped
from bench.environments import Environment, InstallFailed
from zekron_api.local.run import free_port

# 750 MB, of which the benchmarks and the tests of gateways share one copy.
ENVIRONMENT: Final = Environment(
    home=subprocesses.ROOT / "var" / "bench" / "litellm",
    requirements=Path(__file__).parent.parent / "requirements-litellm.txt",
)
# Each path of the backend is a model of the proxy.
MODELS: Final = ("url", "base64")

_CONFIGURATION: Final = """
general_settings: {{master_key: {key}}}
litellm_settings: {{telemetry: false}}
model_list:
"""
_MODEL: Final = """
  - model_name: {name}
    litellm_params: {{model: openai/{name}, api_base: "http://127.0.0.1:{port}/{name}/v1", api_key: none}}
"""


class Proxy(NamedTuple):
    """The port, the key and the process of a running proxy."""

    port: int
    key: str
    process: subprocesses.Process


@contextmanager
def run(folder: Path) -> Iterator[Proxy]:
    """Run the proxy and its backend. Raise Skipped. Both log to the folder."""
    try:
        ENVIRONMENT.install()
    except InstallFailed as error:
        raise Skipped(f"LiteLLM's proxy cannot be installed here: {error}") from error
    port = free_port()
    models = "".join(_MODEL.format(name=name, port=port) for name in MODELS)
    backend = ["-m", "uvicorn", "bench.baselines.image_backend:app", "--lifespan", "off", "--no-access-log"]
    with (
        subprocesses.run(
            "backend", subprocesses.build_python_command(*backend, "--port", str(port)), folder=folder
        ),
        serve(models, folder=folder) as proxy,
    ):
        yield proxy


@contextmanager
def serve(models: str, *, folder: Path) -> Iterator[Proxy]:
    """Run the installed proxy with this `model_list`, one worker process and no database. It logs to the folder."""
    port, key = free_port(), f"sk-{secrets.token_hex(16)}"
    configuration = folder / "litellm.yaml"
    configuration.write_text(_CONFIGURATION.format(key=key) + models)
    python = ENVIRONMENT.python
    command = [str(python.parent / "litellm"), "--config", str(configuration), "--host", "127.0.0.1"]
    # The proxy would take DATABASE_URL for its own, and look up the prices of models in the network.
    environment = {
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(folder),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
    }
    with subprocesses.run(
        "litellm", [*command, "--port", str(port)], folder=folder, environment=environment
    ) as process:
        subprocesses.wait_until_up(process, port=port, path="/health/liveliness", log=folder / "litellm.log")
        yield Proxy(port, key, process)
