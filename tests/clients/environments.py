"""Virtual environments of clients that cannot be installed beside the checks. `make clients` makes them under var/."""

import sys
from pathlib import Path

import pytest

from bench.baselines import litellm_proxy
from bench.environments import Environment
from tests.processes import ROOT

_FOLDER = Path(__file__).parent
# The release that comes with the checks.
OWN = "python"
_NAMES = ("openai-3.3.1", "langchain", "litellm")
_ENVIRONMENTS = {
    name: Environment(home=ROOT / "var" / "clients" / name, requirements=_FOLDER / f"requirements-{name}.txt")
    for name in _NAMES
}


def find(name: str) -> Path:
    """Return the Python of the environment. Skip the test where `make clients` has not made it."""
    if name == OWN:
        return Path(sys.executable)
    return require(_ENVIRONMENTS[name])


def is_installed(name: str) -> bool:
    """Return whether `make clients` has made the environment."""
    return _ENVIRONMENTS[name].is_installed


def require(environment: Environment) -> Path:
    """Return its Python. Skip the test where `make clients` has not made it."""
    if not environment.is_installed:
        pytest.skip(f"{environment.requirements.name} is not installed. `make clients` installs it.")
    return environment.python


if __name__ == "__main__":
    for each in (*_ENVIRONMENTS.values(), litellm_proxy.ENVIRONMENT):
        each.install()
