"""The variables of each artefact are read by somebody, hold no secret, and are enough for a start."""

import ast
import re
import runpy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.deploy import artefacts
from tests.deploy.artefacts import DEPLOY, DOMAIN, SYSTEMD, Process
from tests.processes import ROOT

Artefact = Callable[[], dict[str, Process]]
ARTEFACTS: Final[list[Artefact]] = [artefacts.compose, artefacts.kubernetes, artefacts.systemd]
# Variables that others read: uvicorn, Python, the hub's and torch's libraries, and the commands themselves.
FOREIGN: Final = frozenset(
    {
        *("FORWARDED_ALLOW_IPS", "WEB_HOST", "HOME", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"),
        *("HF_HOME", "TORCHINDUCTOR_CACHE_DIR"),
    }
)


def _variables_of_settings() -> set[str]:
    calls = (node for node in ast.walk(ast.parse((ROOT / "zekron_api" / "settings.py").read_text())))
    return {
        node.args[0].value
        for node in calls
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "env"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }


@pytest.fixture(scope="module")
def secrets_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the secrets of a new service."""
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    subprocess.run([DEPLOY / "make_secrets.sh", folder], check=True, timeout=30)
    return folder


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_each_variable_is_one_that_is_read(artefact: Artefact) -> None:
    given = {name.removesuffix("_FILE") for process in artefact().values() for name in process.environment}
    assert given <= _variables_of_settings() | FOREIGN


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_no_secret_is_written_into_an_artefact(artefact: Artefact) -> None:
    secret = re.compile(r"SECRET|KEYS|TOKEN|PASSWORD|DATABASE_URL|REDIS_URL")
    for process in artefact().values():
        assert not [
            name for name in process.environment if secret.search(name) and not name.endswith("_FILE")
        ]


def test_each_credential_of_systemd_is_used_and_each_used_one_is_loaded(secrets_folder: Path) -> None:
    for process in artefacts.systemd().values():
        used = {
            value.removeprefix("%d/") for value in process.environment.values() if value.startswith("%d/")
        }
        assert used == set(artefacts.credentials())
    for name, file in artefacts.credentials().items():
        assert Path(file).name == name
        assert (secrets_folder / name).exists()


def test_each_secret_of_compose_is_made(secrets_folder: Path) -> None:
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for name, secret in document["secrets"].items():
        assert secret["file"] == f"secrets/{name}"
        assert (secrets_folder / name).exists()


def test_secrets_that_exist_are_left_alone_and_only_their_owner_enters_the_folder(
    secrets_folder: Path,
) -> None:
    before = {path.name: path.read_text() for path in secrets_folder.iterdir()}
    subprocess.run([DEPLOY / "make_secrets.sh", secrets_folder], check=True, timeout=30)
    assert {path.name: path.read_text() for path in secrets_folder.iterdir()} == before
    assert len(set(before.values())) == len(before)
    assert secrets_folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_the_settings_start_with_the_variables_of_each_artefact(
    artefact: Artefact, secrets_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in _variables_of_settings():
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    for name, value in (artefact()["web"].environment | _choices(artefact)).items():
        if name not in FOREIGN:
            monkeypatch.setenv(name, re.sub(r"^(/run/secrets(/zekron)?|%d)/", f"{secrets_folder}/", value))
    read = runpy.run_path(str(ROOT / "zekron_api" / "settings.py"))
    assert (read["LOCAL"], read["ALLOWED_HOSTS"], read["HTTPS"]) == (False, [DOMAIN], True)
    given = ("storage_url", "REDIS_URL", "SECRET_KEY", "MASTER_KEYS", "PROVENANCE_KEYS", "METRICS_TOKEN")
    assert all(read[name] and str(read["VAR_DIR"]) not in read[name] for name in given)
    assert read["DATABASES"]["default"]["USER"] == "zekron"


def _choices(artefact: Artefact) -> dict[str, str]:
    """Return the variables that the operator chooses, as the examples have them."""
    if artefact is artefacts.kubernetes:
        example = yaml.safe_load((DEPLOY / "kubernetes" / "example" / "kustomization.yaml").read_text())
        return dict(each.split("=", 1) for each in example["configMapGenerator"][0]["literals"])
    if artefact is artefacts.systemd:
        lines = (SYSTEMD / "environment.example").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    return {}
