"""The metrics for Prometheus at /metrics, read at each request with METRICS_TOKEN.

They come from PostgreSQL and Redis, and a few from this process.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import redis
from django.conf import settings
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from storage import purge_backlog
from workers.audit import scheduled
from workers.catalogue import catalogue
from workers.messaging import counters, worker_registry
from workers.messaging.worker_registry import Worker
from workers.usage import roll_up
from zekron_api.http import errors, process_metrics
from zekron_api.ops import work_metrics


@csrf_exempt
def serve(request: HttpRequest) -> HttpResponse:
    """Reply with the metrics.

    The status is 404 while METRICS_TOKEN is not set, 401 for a request without it, and 405 for methods other than
    GET and HEAD.
    """
    if not settings.METRICS_TOKEN:
        raise Http404
    if not _is_admitted(request):
        return errors.reply_to(errors.WrongMetricsToken())
    if request.method not in {"GET", "HEAD"}:
        refused = errors.reply_with_status(405)
        refused["Allow"] = "GET, HEAD"
        return refused
    content = generate_latest(_REGISTRY) + generate_latest(_OF_WEB)
    response = HttpResponse(content, content_type=CONTENT_TYPE_PLAIN_0_0_4)
    response["Cache-Control"] = "no-store"
    return response


class ServiceCollector(Collector):
    """The collector of the metrics that all web processes share.

    A source that does not answer gives no metric but `zekron_source_up` 0.
    """

    def collect(self) -> Iterator[Metric]:
        """Read and return the metric families, those of PostgreSQL first."""
        up = GaugeMetricFamily(
            "zekron_source_up", "Whether the source of metrics answers.", labels=["source"]
        )
        for source, read in SOURCES.items():
            try:
                families = list(read())
            except (DatabaseError, redis.RedisError):
                families = []
            up.add_metric([source], 1 if families else 0)
            yield from families
        yield up


def _of_postgresql() -> Iterator[Metric]:
    queue = counters.read_queue()
    count = GaugeMetricFamily("zekron_generations_open", "Open generations by status.", labels=["status"])
    count.add_metric(["queued"], queue.queued_count)
    count.add_metric(["running"], queue.running_count)
    yield count
    by_mode = GaugeMetricFamily(
        "zekron_generations_open_of_mode",
        "Open generations by mode: synchronous ones have a waiting client, asynchronous ones are looked up later.",
        labels=["mode"],
    )
    by_mode.add_metric(["asynchronous"], queue.async_count)
    by_mode.add_metric(["synchronous"], queue.queued_count + queue.running_count - queue.async_count)
    yield by_mode
    ended = GaugeMetricFamily(
        "zekron_generations_ended_without_image",
        "Generations that failed or were cancelled within the last hour, by status and cause.",
        labels=["status", "cause"],
    )
    for labels, number in sorted(counters.read_ended_by_error().items()):
        ended.add_metric(labels, number)
    yield ended
    yield GaugeMetricFamily(
        "zekron_oldest_queued_seconds",
        "Age of the oldest queued generation.",
        value=queue.oldest_queued_seconds,
    )
    yield GaugeMetricFamily(
        "zekron_oldest_synchronous_seconds",
        "Age of the oldest queued generation for which a client waits.",
        value=queue.oldest_synchronous_seconds,
    )
    backlog = purge_backlog.read()
    yield GaugeMetricFamily(
        "zekron_purge_backlog",
        "Images whose key or bytes are due to be destroyed.",
        value=backlog.image_count,
    )
    yield GaugeMetricFamily(
        "zekron_purge_oldest_seconds",
        "Age of the oldest image that is due to be purged.",
        value=backlog.oldest_seconds,
    )
    yield from work_metrics.read_work()
    if closed_until := roll_up.read_closed_until():
        yield GaugeMetricFamily(
            "zekron_usage_rolled_up_timestamp_seconds",
            "End of the last hour in the roll-up of the usage, in Unix seconds.",
            value=closed_until.timestamp(),
        )


def _of_redis() -> Iterator[Metric]:
    yield from _of_workers(worker_registry.list_alive())
    yield from _of_loading(worker_registry.list_loading())
    yield from work_metrics.read_demand()
    yield CounterMetricFamily(
        "zekron_unreadable_images",
        "Reads of images that were missing in the store or failed to decrypt.",
        value=counters.read_unreadable_image_count(),
    )
    errors_of = CounterMetricFamily(
        "zekron_background_errors",
        "Unexpected errors of long-lived threads and tasks.",
        labels=["name"],
    )
    for name, count in counters.read_background_error_counts().items():
        errors_of.add_metric([name], count)
    yield errors_of
    if outcome := scheduled.read_last():
        yield GaugeMetricFamily(
            "zekron_audit_problems", "Errors that the last audit found.", value=outcome.problem_count
        )
        yield GaugeMetricFamily(
            "zekron_audit_ended_timestamp_seconds",
            "End of the last audit in Unix seconds.",
            value=outcome.ended_at_seconds,
        )


def _of_workers(workers: Sequence[Worker]) -> Iterator[Metric]:
    yield GaugeMetricFamily("zekron_workers_alive", "Live GPU workers.", value=len(workers))
    by_model = GaugeMetricFamily(
        "zekron_workers_of_model", "Live GPU workers that have the model loaded.", labels=["model"]
    )
    for model_name in catalogue():
        by_model.add_metric([model_name], sum(worker.makes(model_name) for worker in workers))
    yield by_model
    speed = GaugeMetricFamily(
        "zekron_worker_seconds_per_image", "Seconds that a worker needs for an image.", labels=["worker"]
    )
    busy = GaugeMetricFamily(
        "zekron_worker_busy_fraction",
        "Fraction of the last minute in which the device was busy.",
        labels=["worker"],
    )
    compilation = GaugeMetricFamily(
        "zekron_worker_compilation",
        "How far a worker's model is compiled: compiled, captured or plain. The value is 1.",
        labels=["worker", "model", "compilation"],
    )
    for worker in workers:
        if worker.seconds_per_image is not None:
            speed.add_metric([worker.name], worker.seconds_per_image)
        if worker.details:
            busy.add_metric([worker.name], worker.details.busy_fraction)
            for model_name, state in worker.details.compilation.items():
                compilation.add_metric([worker.name, model_name, state], 1)
    yield speed
    yield busy
    yield compilation


def _of_loading(workers: Sequence[Worker]) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "zekron_workers_loading",
        "GPU workers that still load their models and make nothing.",
        value=len(workers),
    )
    fraction = GaugeMetricFamily(
        "zekron_worker_loading_fraction",
        "Part of its models that a worker has loaded, from 0 to 1, where it is known.",
        labels=["worker"],
    )
    for worker in workers:
        if worker.details and worker.details.loading_fraction is not None:
            fraction.add_metric([worker.name], worker.details.loading_fraction)
    yield fraction


def _is_admitted(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    # A comparison in constant time reveals nothing of the token by its duration.
    same = secrets.compare_digest(token.strip().encode(), settings.METRICS_TOKEN.encode())
    return same and scheme.lower() == "bearer"


SOURCES: Final[dict[str, Callable[[], Iterator[Metric]]]] = {"postgresql": _of_postgresql, "redis": _of_redis}
_REGISTRY: Final = CollectorRegistry(auto_describe=False)
_REGISTRY.register(ServiceCollector())
_OF_WEB: Final = REGISTRY.restricted_registry(process_metrics.OF_WEB)
