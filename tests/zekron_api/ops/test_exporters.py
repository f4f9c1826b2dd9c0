"""The start of exporters: only if a setting asks for them, and with one line if their library is missing."""

import subprocess
import sys

import pytest
from pytest_django import Settings

from tests.processes import ROOT
from workers import tracing
from zekron_api.config.env import InvalidVariable
from zekron_api.ops import exporters


def test_a_process_says_which_requirements_are_missing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = "http://localhost:4318"
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(InvalidVariable) as refusal:
        exporters.start(process="web")
    assert str(refusal.value) == (
        "zekron: the environment variable OTEL_EXPORTER_OTLP_ENDPOINT is set,"
        " but requirements/otel.txt is not installed."
    )


def test_without_the_settings_nothing_is_started(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(tracing, "start")
    exporters.start(process="web")


@pytest.mark.processes
def test_without_the_settings_no_library_is_loaded() -> None:
    code = (
        "import sys, zekron_api.asgi;"
        "print({'opentelemetry.sdk.trace', 'opentelemetry.exporter', 'sentry_sdk'} & set(sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.strip() == "set()"
