"""The alerts and the dashboard for operators: they parse, fire when they must, and name only what is measured."""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any, Final

import pytest
import yaml
from prometheus_client import REGISTRY, Metric

import zekron_api.http.process_metrics  # noqa: F401
from tests import factories
from tests.debian_packages import find_program
from tests.processes import ROOT
from workers.audit import scheduled
from workers.messaging import worker_registry
from workers.models import UsageProgress
from zekron_api.ops.prometheus import ServiceCollector

FOLDER: Final = ROOT / "deploy" / "prometheus"
RULES: Final = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: Final = json.loads((ROOT / "deploy" / "grafana" / "zekron.json").read_text())
RUNBOOKS: Final = (ROOT / "docs" / "runbooks.md").read_text()
OPERATIONS: Final = (ROOT / "docs" / "operations.md").read_text()
SECTION: Final = OPERATIONS.partition("\n## Health and metrics\n")[2].partition("\n## Usage\n")[0]
_NAME: Final = re.compile(r"\b(?:zekron|process)_[a-z0-9_]+")


def of_dashboard() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield from _NAME.findall(target["expr"])


def of_process() -> set[str]:
    """Return the names of the series that a process can have. Without a GPU, none has loaded the module of its own."""
    import_module("workers.engine.device_metrics")
    return series_of(REGISTRY.collect())


def of_service() -> set[str]:
    """Return the names of the series that all web processes share, once there was an audit, a roll-up and a worker."""
    factories.account()
    scheduled.run()
    UsageProgress.objects.create(closed_until=factories.NOW)
    worker_registry.publish(worker_name="gpu-1@a")
    return series_of(ServiceCollector().collect())


def series_of(families: Iterable[Metric]) -> set[str]:
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count", ""]}
    return {family.name + suffix for family in families for suffix in suffixes.get(family.type, [""])}


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = find_program("promtool", package="prometheus")
    return subprocess.run(
        [program.path, *arguments],
        cwd=FOLDER,
        env=dict(program.environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.processes
def test_prometheus_takes_the_rules() -> None:
    checked = promtool("check", "rules", "alerts.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(RULES)} rules found" in checked.stdout


@pytest.mark.processes
def test_each_alert_fires_when_it_must_and_a_healthy_service_raises_none() -> None:
    tested = promtool("test", "rules", "alerts_test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_each_alert_has_a_test_that_it_fires() -> None:
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    fired = {check["alertname"] for test in tests for check in test["alert_rule_test"] if check["exp_alerts"]}
    assert fired == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_has_a_paragraph_that_says_what_to_do(rule: dict[str, Any]) -> None:
    path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert (path, anchor) == ("docs/runbooks.md", rule["alert"].lower())
    _, heading, rest = RUNBOOKS.partition(f"\n### {rule['alert']}\n")
    assert heading
    paragraph = rest.partition("\n#")[0]
    assert len(paragraph.split()) > 30


@pytest.mark.django_db(transaction=True)
def test_every_metric_in_the_alerts_the_dashboard_and_the_documents_exists() -> None:
    existing = of_process() | of_service()
    in_rules = {name for rule in RULES for name in _NAME.findall(rule["expr"])}
    assert in_rules
    assert in_rules | set(of_dashboard()) <= existing
    assert set(_NAME.findall(SECTION)) <= existing


@pytest.mark.django_db(transaction=True)
def test_every_metric_is_documented() -> None:
    suffixes = ("_bucket", "_sum", "_count")
    ours = {name for name in of_process() | of_service() if name.startswith("zekron_")}
    assert {name for name in ours if not name.endswith(suffixes) and f"`{name}`" not in SECTION} == set()


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
