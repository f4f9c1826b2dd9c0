"""Traces of generations by OpenTelemetry, once `start` was called. Otherwise each function does nothing.

The row of a generation carries its place in a trace (W3C Trace Context), because neither a message nor a thread leads
from its request to its picture. A trace holds no prompt, key or token, and of an error its class alone.
"""

import atexit
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, Tracer

# The receiver is given up after this time, and what it missed is dropped.
EXPORT_SECONDS: Final = 5.0
# A process that ends waits this long for its last spans.
FLUSH_SECONDS: Final = 2.0
_NANOSECONDS: Final = 1_000_000_000

_tracer: "Tracer | None" = None


def start(*, endpoint: str, service_name: str) -> None:
    """Send the spans of this process to a receiver of OTLP over HTTP. Raise ImportError without the library."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
    processor = BatchSpanProcessor(exporter)
    provider = TracerProvider(
        resource=Resource.create({"service.name": service_name}), shutdown_on_exit=False
    )
    provider.add_span_processor(processor)
    # The public way to stop waits for 30 seconds, and a stopping worker's successor waits with it.
    atexit.register(processor._batch_processor.shutdown, timeout_millis=int(1000 * FLUSH_SECONDS))
    use(provider.get_tracer("zekron"))


def use(tracer: "Tracer | None") -> None:
    """Make spans with this tracer from now on, or none."""
    global _tracer  # noqa: PLW0603 (a process has one)
    _tracer = tracer


@contextmanager
def span(name: str, *, parent: str, may_begin: bool = False, **attributes: str | int) -> Iterator[str]:
    """Trace the block under the span whose traceparent is `parent`. Give the traceparent of the block's own span.

    Without a parent there is no span, unless the block may begin a trace.
    """
    if _tracer is None or not (parent or may_begin):
        yield parent
        return
    own = _tracer.start_span(name, context=_context_of(parent), attributes=_named(attributes))
    try:
        # The library may be switched off by a variable of its own.
        yield _traceparent_of(own) or parent
    except BaseException as error:
        own.set_attribute("error.type", type(error).__qualname__)
        raise
    finally:
        own.end()


def record(
    name: str,
    *,
    parent: str,
    started_at: float,
    ended_at: float,
    links: Sequence[str] = (),
    **attributes: str | int,
) -> None:
    """Trace what happened between two Unix times. `links` are traceparents of others for whom it happened too."""
    if _tracer is None or not parent:
        return
    own = _tracer.start_span(
        name,
        context=_context_of(parent),
        links=[_link_to(each) for each in links],
        start_time=int(started_at * _NANOSECONDS),
        attributes=_named(attributes),
    )
    own.end(int(ended_at * _NANOSECONDS))


def _named(attributes: dict[str, str | int]) -> dict[str, str | int]:
    return {f"zekron.{name}": value for name, value in attributes.items()}


def _context_of(traceparent: str) -> "Context":
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    # An empty context in place of the thread's own, which belongs to whatever library uses it.
    return TraceContextTextMapPropagator().extract({"traceparent": traceparent}, context=Context())


def _link_to(traceparent: str) -> "Link":
    from opentelemetry.trace import Link, get_current_span  # noqa: PLC0415

    return Link(get_current_span(_context_of(traceparent)).get_span_context())


def _traceparent_of(own: "Span") -> str:
    context = own.get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
