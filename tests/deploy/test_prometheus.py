"""The configuration of Prometheus is one that Prometheus reads, and asks the ports that the processes have."""

import subprocess
from typing import Any, Final

import pytest
import yaml

from tests.debian_packages import find_program
from tests.deploy import artefacts
from tests.deploy.artefacts import DEPLOY

CONFIGURATION: Final = DEPLOY / "prometheus" / "prometheus.yml"


def _jobs() -> dict[str, Any]:
    document = yaml.safe_load(CONFIGURATION.read_text())
    return {job["job_name"]: job["dns_sd_configs"][0] for job in document["scrape_configs"]}


def test_each_process_is_asked_at_its_port_for_metrics() -> None:
    asked = _jobs()["zekron-processes"]
    assert set(asked["names"]) == set(artefacts.LONG_LIVED)
    for name in asked["names"]:
        assert artefacts.compose()[name].environment["METRICS_PORT"] == str(asked["port"])


def test_the_shared_truth_is_asked_of_web_with_the_token() -> None:
    shared = _jobs()["zekron-service"]
    assert (shared["names"], shared["port"]) == (["web"], 8000)
    assert "credentials_file: /run/secrets/metrics_token" in CONFIGURATION.read_text()


@pytest.mark.deploy
def test_prometheus_reads_it() -> None:
    promtool = find_program("promtool", package="prometheus")
    ended = subprocess.run(
        [promtool.path, "check", "config", "--syntax-only", CONFIGURATION],
        env=promtool.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
