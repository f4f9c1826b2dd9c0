"""The trace of a request through the whole service: web process, row, worker, reply."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests import factories, telemetry
from tests.zekron_api import asgi_client
from tests.zekron_api.callers import Caller
from workers.models import Generation

pytestmark = pytest.mark.django_db(transaction=True)
CLIENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STAGES = ["accept", "wait", "prepare", "denoise", "decode", "encode", "store", "settle", "reply"]


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Return the spans that are made while the test runs."""
    with telemetry.recorded_spans() as recorded:
        yield recorded


def make(me: Caller, *, traceparent: str = "") -> None:
    headers = [("authorization", f"Bearer {me.key}"), ("content-type", "application/json")]
    if traceparent:
        headers.append(("traceparent", traceparent))
    with asgi_client.served() as server:
        reply = server.send("POST", "/v1/generate", headers, b'{"prompt": "a canary", "size": "512x512"}')
    assert reply.status_code == 200


def test_the_trace_of_a_client_leads_from_the_acceptance_to_the_reply_and_holds_nothing_private(
    me: Caller, engine: factories.StandInEngine, spans: InMemorySpanExporter
) -> None:
    make(me, traceparent=CLIENT)
    finished = {span.name: span for span in spans.get_finished_spans()}
    assert sorted(finished) == sorted(STAGES)
    assert {f"{span.context.trace_id:032x}" for span in finished.values()} == {CLIENT[3:35]}
    accept = finished.pop("accept")
    assert f"{accept.parent.span_id:016x}" == CLIENT[36:52]
    assert {span.parent.span_id for span in finished.values()} == {accept.context.span_id}
    assert Generation.objects.get().traceparent[36:52] == f"{accept.context.span_id:016x}"
    row = Generation.objects.get()
    written = "".join(span.to_json() for span in spans.get_finished_spans())
    for private in ("canary", me.key, row.token_digest):
        assert private not in written


def test_a_trace_begins_here_if_the_client_sent_none(
    me: Caller, engine: factories.StandInEngine, spans: InMemorySpanExporter
) -> None:
    make(me)
    finished = spans.get_finished_spans()
    assert sorted(span.name for span in finished) == sorted(STAGES)
    assert [span.name for span in finished if span.parent is None] == ["accept"]
    assert len({span.context.trace_id for span in finished}) == 1


def test_without_tracing_no_span_is_made_and_the_row_keeps_the_place_of_the_client(
    me: Caller, engine: factories.StandInEngine
) -> None:
    make(me, traceparent=CLIENT)
    assert Generation.objects.get().traceparent == CLIENT
