"""Models by their names on the hub, from its cache, without a network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.workers.conftest import entry
from workers.engine.interface import EngineError, load_engine
from workers.pipelines.runtime import loading
from workers.pipelines.tiny import build


@pytest.mark.processes
@pytest.mark.parametrize(
    "adapter",
    [
        pytest.param(name, marks=[pytest.mark.long] if name != "flux2-klein" else [])
        for name in build.ADAPTERS
    ],
)
def test_a_model_of_the_hub_loads_in_half_precision_from_several_files(adapter: str, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "DEBUG": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.workers.pipelines.hub_model", adapter, str(tmp_path / "hub")],
        cwd=ROOT,
        env={**environment, "DJANGO_SETTINGS_MODULE": "zekron_api.settings"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout.strip().splitlines()[-1])
    assert seen["shape"] == [128, 128, 3]
    assert seen["deviation"] > 5
    assert seen["files"] > 3
    assert "REPORT" not in ended.stderr, "transformers finds something odd"
    assert "not used" not in ended.stderr, "diffusers finds something odd"


@pytest.mark.parametrize(
    ("weights", "parts"),
    [("owner/name", ("owner/name", None)), ("owner/name@0123", ("owner/name", "0123"))],
)
def test_a_revision_follows_the_name(weights: str, parts: tuple[str, str | None]) -> None:
    assert loading._split_revision(weights) == parts


@pytest.mark.parametrize(
    "part", ["text_encoder/model.safetensors", "vae/diffusion_pytorch_model.safetensors"]
)
def test_a_file_of_weights_that_is_cut_off_is_an_error_of_the_engine(part: str, tmp_path: Path) -> None:
    build.make(tmp_path / "small")
    file = tmp_path / "small" / part
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(EngineError, match="the weights of zekron-image-1 cannot be loaded"):
        load_engine(model=entry(tmp_path / "small"), device="cpu")
