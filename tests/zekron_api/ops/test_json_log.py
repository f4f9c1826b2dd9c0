"""Log lines as JSON: one object a line, with the fields of the work at hand, and with nothing that a client sent."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from tests import factories
from tests.processes import ROOT
from tests.zekron_api.callers import Caller
from workers import log_context
from workers.models import Generation
from zekron_api.ops.json_log import JsonFormatter
from zekron_api.ops.log_redaction import LineFormatter

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
log = logging.getLogger("workers.test")


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """Return what the root logger writes as JSON."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter(FORMAT))
    logging.root.addHandler(handler)
    yield out
    logging.root.removeHandler(handler)


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_has_the_fields_of_its_record_and_of_the_work_at_hand(out: io.StringIO) -> None:
    with log_context.adding(request_id="abc", trace_id=""):
        log_context.add(account_id=7)
        log.info("it took %d", 3, extra={"route": "v1/generate", "status": 200, "ms": 1.5})
    log.info("nothing more")
    first, second = lines(out)
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "INFO",
        "logger": "workers.test",
        "message": "it took 3",
        "request_id": "abc",
        "account_id": 7,
        "route": "v1/generate",
        "status": 200,
        "ms": 1.5,
    }
    assert set(second) == {"time", "level", "logger", "message"}


def test_what_a_library_attaches_to_a_record_is_not_written(out: io.StringIO) -> None:
    log.info("received", extra={"data": {"kwargs": "canary"}, "request": "canary", "headers": ["canary"]})
    log.info({"authorization": "canary"})
    assert len(lines(out)) == 2
    assert "canary" not in out.getvalue()


def test_an_exception_is_written_by_its_frames_and_not_by_its_text(out: io.StringIO) -> None:
    try:
        # A frame shows its line of code.
        raise ValueError("".join(["can", "ary"]))
    except ValueError as error:
        log.exception("failed: %s", error)
        log.error(error)
    assert "canary" not in out.getvalue()
    first, second = lines(out)
    assert first["message"] == "failed: ValueError"
    assert first["exception"].endswith("ValueError")
    assert "test_json_log.py" in first["exception"]
    assert second["message"] == "ValueError"


@pytest.mark.django_db(transaction=True)
def test_the_lines_of_a_worker_carry_the_id_of_the_request_and_of_its_trace(
    me: Caller, engine: factories.StandInEngine, out: io.StringIO
) -> None:
    sent = {"X-Request-Id": "from-the-proxy", "Traceparent": TRACE}
    assert me.post("/v1/generate", {"prompt": "a canary", "size": "512x512"}, **sent).status_code == 200
    [row] = Generation.objects.all()
    assert (row.request_id, row.traceparent) == ("from-the-proxy", TRACE)
    [completed] = [line for line in lines(out) if "completed at attempt" in line["message"]]
    assert completed["request_id"] == "from-the-proxy"
    assert completed["trace_id"] == TRACE[3:35]
    assert (completed["generation_id"], completed["account_id"]) == (row.pk, me.account.pk)
    [request] = [line for line in lines(out) if line["logger"] == "zekron_api.middleware"]
    assert (request["method"], request["route"], request["account_id"]) == (
        "POST",
        "v1/generate",
        me.account.pk,
    )
    assert "canary" not in out.getvalue()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        f"ff{TRACE[2:]}",
        f"{TRACE}-x",
        TRACE.upper(),
    ],
)
def test_a_trace_that_is_not_well_formed_is_not_kept(me: Caller, traceparent: str) -> None:
    headers = {"Traceparent": traceparent, "X-Request-Id": "zk_a_key_by_mistake"}
    body = {"prompt": "a boat", "size": "512x512", "async": True}
    assert me.post("/v1/generate", body, **headers).status_code == 202
    row = Generation.objects.get()
    assert row.traceparent == ""
    assert row.request_id
    assert "zk_" not in row.request_id


def test_a_line_for_people_ends_with_the_request_unless_it_begins_with_it() -> None:
    formatter = LineFormatter("%(message)s")

    def line(message: str) -> str:
        return formatter.format(logging.LogRecord("x", logging.INFO, "", 0, message, (), None))

    assert line("done") == "done"
    with log_context.adding(request_id="abc"):
        assert line("done") == "done (request abc)"
        assert line("abc GET / 200") == "abc GET / 200"


@pytest.mark.processes
def test_the_variable_chooses_the_format_and_another_value_stops_the_start(settings: Settings) -> None:
    code = "from zekron_api import settings; print(settings.LOGGING['formatters']['line']['class'])"
    results = {}
    for value in ("json", "xml"):
        ended = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "LOG_FORMAT": value},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        results[value] = (ended.returncode, ended.stdout.strip() or ended.stderr.strip())
    assert results == {
        "json": (0, "zekron_api.ops.json_log.JsonFormatter"),
        "xml": (78, "zekron: the environment variable LOG_FORMAT is not one of: text, json."),
    }
