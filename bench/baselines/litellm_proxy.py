"""LiteLLM's proxy before a backend that costs nothing, in a virtual environment of its own."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from django.conf import settings

from bench import subprocesses
from bench.benchmark import Skipped
from zekron_api.local.run import free_port

REQUIREMENTS: Final = Path(__file__).parent.parent / "requirements-litellm.txt"
INSTALL_SECONDS: Final = 1800
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
    """Run the proxy with one worker process and no database, and its backend. Raise Skipped.

    Both log to the folder.
    """
    python = _install()
    port, backend_port, key = free_port(), free_port(), f"sk-{secrets.token_hex(16)}"
    models = "".join(_MODEL.format(name=name, port=backend_port) for name in MODELS)
    configuration = folder / "litellm.yaml"
    configuration.write_text(_CONFIGURATION.format(key=key) + models)
    backend = ["-m", "uvicorn", "bench.baselines.image_backend:app", "--lifespan", "off", "--no-access-log"]
    command = [str(python.parent / "litellm"), "--config", str(configuration), "--host", "127.0.0.1"]
    # The proxy would take DATABASE_URL for its own, and look up the prices of models in the network.
    environment = {
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(folder),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
    }
    with (
        subprocesses.run(
            "backend", subprocesses.build_python_command(*backend, "--port", str(backend_port)), folder=folder
        ),
        subprocesses.run(
            "litellm", [*command, "--port", str(port)], folder=folder, environment=environment
        ) as process,
    ):
        subprocesses.wait_until_up(process, port=port, path="/health/liveliness", log=folder / "litellm.log")
        yield Proxy(port, key, process)


def _install() -> Path:
    """Return the environment's Python, and install it first if necessary. Raise Skipped if that fails."""
    home = settings.VAR_DIR / "bench" / "litellm"
    python, done = home / "bin" / "python", home / "installed.txt"
    if done.exists() and done.read_text() == REQUIREMENTS.read_text():
        return python
    print(f"Installing LiteLLM's proxy in {home}, 750 MB, which takes minutes.", file=sys.stderr)
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    try:
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(home)],
            [*pip, "install", "--requirement", str(REQUIREMENTS)],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.SubprocessError as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1]
        raise Skipped(f"LiteLLM's proxy cannot be installed here: {said}") from error
    done.write_text(REQUIREMENTS.read_text())
    return python
