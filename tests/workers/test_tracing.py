"""Traces: one for each request, from its acceptance to its reply, and nothing private in them."""

import atexit
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from tests import telemetry
from workers import tracing
from workers.engine.interface import ImageOrder
from workers.gpu_worker import stages

FIRST = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SECOND = "00-11111111111111111111111111111111-2222222222222222-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Return the spans that are made while the test runs."""
    with telemetry.recorded_spans() as recorded:
        yield recorded


def parent_of(span: ReadableSpan) -> str:
    return f"00-{span.parent.trace_id:032x}-{span.parent.span_id:016x}-01"


def order(traceparent: str) -> ImageOrder:
    return ImageOrder(prompt="a canary", width=64, height=64, seed=1, traceparent=traceparent)


def test_a_span_belongs_to_its_parent_and_gives_its_own_place(spans: InMemorySpanExporter) -> None:
    with (
        tracing.span("accept", parent=FIRST, may_begin=True) as own,
        tracing.span("reply", parent=own, generation_id=7),
    ):
        pass
    reply, accept = spans.get_finished_spans()
    assert parent_of(accept) == FIRST
    assert parent_of(reply) == own
    assert dict(reply.attributes) == {"zekron.generation_id": 7}


def test_a_trace_begins_with_the_acceptance_alone(spans: InMemorySpanExporter) -> None:
    with tracing.span("reply", parent="") as nothing:
        assert nothing == ""
    tracing.record("wait", parent="", started_at=0, ended_at=1)
    assert not spans.get_finished_spans()
    with tracing.span("accept", parent="", may_begin=True) as own:
        assert own.startswith("00-")
    [accept] = spans.get_finished_spans()
    assert accept.parent is None


def test_a_span_of_a_failure_tells_the_class_of_the_error_alone(spans: InMemorySpanExporter) -> None:
    with pytest.raises(LookupError), tracing.span("encode", parent=FIRST):
        raise LookupError("a canary")
    [encode] = spans.get_finished_spans()
    assert dict(encode.attributes) == {"error.type": "LookupError"}
    assert not encode.events
    assert "canary" not in encode.to_json()


def test_a_batch_has_one_span_that_is_linked_to_each_of_its_orders(spans: InMemorySpanExporter) -> None:
    stages.note_engine_stage("m", "denoise", [order(FIRST), order(SECOND), order("")], 2.0)
    [denoise] = spans.get_finished_spans()
    assert parent_of(denoise) == FIRST
    assert [f"{link.context.trace_id:032x}" for link in denoise.links] == [FIRST[3:35], SECOND[3:35]]
    assert denoise.end_time - denoise.start_time == pytest.approx(2e9, rel=0.001)
    assert dict(denoise.attributes) == {"zekron.model": "m", "zekron.batch_size": 3}


def test_what_the_client_does_not_sample_is_not_sent(spans: InMemorySpanExporter) -> None:
    unsampled = FIRST.removesuffix("01") + "00"
    with tracing.span("accept", parent=unsampled, may_begin=True) as own:
        assert own.endswith("-00")
        assert own[3:35] == FIRST[3:35]
    assert not spans.get_finished_spans()


def test_a_sampler_that_takes_nothing_leaves_a_place_that_nobody_samples() -> None:
    tracing.use(TracerProvider(sampler=ALWAYS_OFF).get_tracer("test"))
    try:
        with tracing.span("accept", parent="", may_begin=True) as own:
            # The last bit says that the trace is sampled.
            assert int(own[-2:], 16) & 1 == 0
    finally:
        tracing.use(None)


def test_without_a_tracer_the_place_of_the_client_is_kept() -> None:
    with tracing.span("accept", parent=FIRST, may_begin=True) as own:
        assert own == FIRST
    tracing.record("wait", parent=FIRST, started_at=0, ended_at=1)


@contextmanager
def receiver() -> Iterator[tuple[str, list[Any]]]:
    """Run a receiver of OTLP over HTTP; give its address and what it got."""
    got: list[Any] = []

    def receive(post: telemetry.Post) -> None:
        got.append((post.path, ExportTraceServiceRequest.FromString(post.body)))

    with telemetry.receiving(receive) as port:
        yield f"http://127.0.0.1:{port}", got


def test_spans_arrive_at_a_receiver_of_otlp_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    providers: list[TracerProvider] = []
    get_tracer = TracerProvider.get_tracer

    def remember(provider: TracerProvider, name: str) -> Any:
        providers.append(provider)
        return get_tracer(provider, name)

    monkeypatch.setattr(TracerProvider, "get_tracer", remember)
    with receiver() as (address, got):
        tracing.start(endpoint=f"{address}/", service_name="zekron-web")
        try:
            with tracing.span("accept", parent=FIRST, may_begin=True):
                pass
            providers[0].shutdown()
        finally:
            tracing.use(None)
    [(path, message)] = got
    assert path == "/v1/traces"
    [resource] = message.resource_spans
    names = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert names["service.name"] == "zekron-web"
    [span] = resource.scope_spans[0].spans
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == (
        "accept",
        FIRST[3:35],
        FIRST[36:52],
    )


def test_a_receiver_that_hangs_keeps_no_process_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    at_exit: list[Callable[[], object]] = []
    monkeypatch.setattr(atexit, "register", lambda work, **options: at_exit.append(partial(work, **options)))
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.05)
    got, is_over = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.path)
            is_over.wait(60)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        tracing.start(endpoint=f"http://127.0.0.1:{server.server_port}", service_name="zekron-gpu")
        try:
            # More than one batch, each of which would wait for EXPORT_SECONDS.
            for _ in range(1500):
                tracing.record("wait", parent=FIRST, started_at=0, ended_at=1)
            for work in at_exit:
                work()
            assert len(got) <= 1
        finally:
            tracing.use(None)
            is_over.set()
            server.shutdown()
