"""Every thread and task that the service starts is known, and each long-lived one has a test of its survival."""

import ast
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("billing", "storage", "workers", "zekron_api")
# Whatever starts work that its caller does not wait for in the same line.
STARTERS = {
    "Process",
    "ProcessPoolExecutor",
    "TaskGroup",
    "Thread",
    "ThreadPoolExecutor",
    "Timer",
    "create_task",
    "ensure_future",
    "run_in_executor",
    "start_new_thread",
    "to_thread",
}


class Guard(NamedTuple):
    """Consequence of a failure in such a thread or task, and the test that shows it, for those that live long."""

    what: str
    test: str = ""


BATCHER = "tests/workers/engine/test_batcher.py"
WAITING = "tests/zekron_api/waiting/test_asgi_handler.py"
BACKGROUND: dict[tuple[str, str], Guard] = {
    ("workers/gpu_worker/heartbeat.py", "Thread"): Guard(
        "each beat is guarded, and the next one follows",
        "tests/workers/gpu_worker/test_heartbeat.py::test_an_error_that_nobody_expected_does_not_end_the_heartbeat",
    ),
    ("workers/gpu_worker/poller.py", "Thread"): Guard(
        "each round is guarded, and the next one follows",
        "tests/workers/gpu_worker/test_poller.py::test_an_error_that_nobody_expected_does_not_end_the_poller",
    ),
    ("workers/gpu_worker/poller.py", "ThreadPoolExecutor"): Guard(
        "an attempt ends; its thread serves the next"
    ),
    ("workers/engine/stage_executor.py", "Thread"): Guard(
        "the batcher fails its orders, and the process ends",
        f"{BATCHER}::test_a_thread_that_breaks_fails_every_order_and_is_told_once",
    ),
    ("workers/engine/batcher.py", "Thread"): Guard("ends the process, whatever fails in it"),
    ("workers/gpu_worker/process.py", "Timer"): Guard("ends the process, whatever fails in it"),
    ("workers/imaging/containers.py", "Timer"): Guard("kills the process that reads the file"),
    ("workers/tasks.py", "Thread"): Guard("begins a stop, which Celery's own limit completes"),
    ("workers/gpu_worker/progress.py", "Thread"): Guard(
        "each round is guarded, and the next one follows",
        "tests/workers/gpu_worker/test_progress.py::test_an_error_that_nobody_expected_does_not_end_the_reporter",
    ),
    ("workers/gpu_worker/previews.py", "Thread"): Guard(
        "each preview is guarded, and the next one follows",
        "tests/workers/gpu_worker/test_previews.py::test_an_error_that_nobody_expected_does_not_end_the_publisher",
    ),
    ("workers/webhooks/deliverer.py", "Thread"): Guard(
        "each round is guarded, and the next one follows",
        "tests/workers/webhooks/test_deliverer.py::test_an_error_that_nobody_expected_does_not_end_the_deliverer",
    ),
    ("workers/webhooks/deliverer.py", "ThreadPoolExecutor"): Guard(
        "the round or the attempt gets the error; the thread serves the next"
    ),
    ("workers/webhooks/deliverer.py", "create_task"): Guard(
        "the attempt ends; without a record it is made again"
    ),
    ("workers/webhooks/deliverer.py", "run_in_executor"): Guard("is awaited by the round or the attempt"),
    ("workers/webhooks/addresses.py", "ThreadPoolExecutor"): Guard(
        "the attempt or the request gets the error; the thread serves the next"
    ),
    ("workers/webhooks/addresses.py", "run_in_executor"): Guard("is awaited by the attempt"),
    ("workers/remote/engine.py", "create_task"): Guard("its batch awaits it, and cancels it at its end"),
    ("workers/messaging/background.py", "to_thread"): Guard("counts, and is awaited"),
    ("storage/deletions.py", "ThreadPoolExecutor"): Guard(
        "the caller gets the error; the thread serves the next"
    ),
    ("zekron_api/waiting/asgi_handler.py", "create_task"): Guard(
        "listener, poll and the look at watched rows are run again",
        f"{WAITING}::test_neither_the_listener_nor_the_poll_ends_by_an_error_that_nobody_expected",
    ),
    ("zekron_api/ops/metrics_server.py", "Thread"): Guard(
        "the server serves again, and a request that fails ends alone",
        "tests/zekron_api/ops/test_metrics_server.py"
        "::test_an_error_that_nobody_expected_does_not_end_the_metrics_server",
    ),
    ("zekron_api/ops/metrics_server.py", "Timer"): Guard("the client stays until it is silent"),
    ("zekron_api/ops/readiness.py", "Thread"): Guard(
        "the part counts as missing; the next check has its own"
    ),
    ("zekron_api/waiting/open_lanes.py", "ThreadPoolExecutor"): Guard("the request gets the error"),
    ("zekron_api/waiting/asgi_handler.py", "ThreadPoolExecutor"): Guard("the request gets the error"),
    ("zekron_api/waiting/asgi_handler.py", "run_in_executor"): Guard("is awaited by its request"),
    ("zekron_api/waiting/asgi_handler.py", "ensure_future"): Guard("is awaited by its request"),
    ("zekron_api/waiting/event_streams.py", "ensure_future"): Guard("is awaited by its stream"),
    ("zekron_api/waiting/futures.py", "ensure_future"): Guard("is awaited by its stream, or cancelled"),
    ("zekron_api/waiting/asgi_handler.py", "to_thread"): Guard("is awaited at the stop"),
    ("zekron_api/waiting/own_requests.py", "create_task"): Guard("the client's request gets the error"),
    ("zekron_api/waiting/own_requests.py", "ensure_future"): Guard("is cancelled by its request"),
    ("zekron_api/waiting/own_requests.py", "to_thread"): Guard("is awaited by its request"),
    ("zekron_api/mcp_server/view.py", "to_thread"): Guard(
        "the request gets the error, and the next one tries again"
    ),
    ("zekron_api/mcp_server/tools.py", "to_thread"): Guard("is awaited by its request"),
    ("zekron_api/waiting/completion_waiters.py", "to_thread"): Guard("is awaited by the guarded listener"),
}


def _started() -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for path in sorted(each for package in PACKAGES for each in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in STARTERS:
                    found[path.relative_to(ROOT).as_posix(), name] += 1
    return found


def test_every_thread_and_task_is_on_the_list_with_what_becomes_of_it() -> None:
    assert sorted(_started()) == sorted(BACKGROUND)


@pytest.mark.parametrize(
    "guard", [each for each in BACKGROUND.values() if each.test], ids=lambda each: each.what
)
def test_each_long_lived_one_has_a_test_of_what_follows_its_failure(guard: Guard) -> None:
    file, _, name = guard.test.partition("::")
    assert f"def {name}(" in (ROOT / file).read_text()
