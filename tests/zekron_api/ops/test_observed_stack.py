"""The observation of real processes: one request is followed from its web process to its worker."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests import processes, telemetry
from tests.zekron_api.ops.test_metrics_server import ask, eventually
from zekron_api.local.run import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
# The two processes share their environment, and need different ports.
GPU = """
import os, sys
os.environ["METRICS_PORT"] = sys.argv.pop(1)
from celery.__main__ import main
sys.argv = "celery --skip-checks -A zekron_api worker -P threads -c 2 -Q gpu -n gpu@observed".split()
main()
"""


@contextmanager
def collector() -> Iterator[tuple[int, list[Any]]]:
    """Run a receiver of spans; give its port and the spans with the service that sent them."""
    spans: list[Any] = []

    def receive(post: telemetry.Post) -> None:
        for resource in ExportTraceServiceRequest.FromString(post.body).resource_spans:
            service = {each.key: each.value.string_value for each in resource.resource.attributes}
            spans.extend((service["service.name"], span) for span in resource.scope_spans[0].spans)

    with telemetry.receiving(receive) as port:
        yield port, spans


def test_one_request_is_followed_through_real_processes(tmp_path: Path, objects_folder: Path) -> None:
    web_port, gpu_port = free_port(), free_port()
    with (
        collector() as (collector_port, spans),
        processes.running(
            folder=tmp_path,
            objects_folder=objects_folder,
            others={"gpu": ["-c", GPU, str(gpu_port)]},
            MODELS_FILE=str(processes.scripted_models(tmp_path)),
            METRICS_PORT=str(web_port),
            LOG_FORMAT="json",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector_port}",
        ) as stack,
    ):
        server = processes.ready(stack.url)
        made = server.ask("/v1/generate", {"prompt": "a canary", "size": "512x512"})
        assert made.status == 200
        request_id = made.headers["x-request-id"]
        of_web, of_gpu = ask(web_port, "/metrics")[1], ask(gpu_port, "/metrics")[1]
        assert [ask(port, "/healthz")[0] for port in (web_port, gpu_port)] == [200, 200]
        assert eventually(lambda: len(spans) >= 9)
    assert 'zekron_http_requests_total{method="POST",route="v1/generate",status="200"} 1.0' in of_web
    assert (
        'zekron_generations_ended_total{error_type="",kind="create",model="zekron-image-1",outcome="completed"} 1.0'
        in of_gpu
    )
    assert {(service, span.name) for service, span in spans} == {
        *(("zekron-web", name) for name in ("accept", "reply")),
        *(
            ("zekron-worker", name)
            for name in ("wait", "prepare", "denoise", "decode", "encode", "store", "settle")
        ),
    }
    [trace_id] = {span.trace_id.hex() for _, span in spans}
    log = (tmp_path / "gpu.log").read_text()
    [completed] = [json.loads(line) for line in log.splitlines() if "completed at attempt 1" in line]
    assert (completed["request_id"], completed["trace_id"]) == (request_id, trace_id)
    assert "canary" not in stack.logs() + str(spans)
