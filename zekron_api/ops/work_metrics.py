"""Metrics for an autoscaler: the predicted work and the refused demand of each model."""

import logging
from collections.abc import Iterator

import redis
from prometheus_client.core import GaugeMetricFamily, Metric

from workers.catalogue import catalogue
from workers.lifecycle import queue_work
from workers.messaging import demand

log = logging.getLogger(__name__)


def read_work() -> Iterator[Metric]:
    """Return the work of each model. It is absent without Redis, which knows how fast the workers are."""
    try:
        seconds_by_model = queue_work.predict_seconds()
    except redis.RedisError as error:
        log.debug("the work of the queue cannot be predicted without Redis: %s", error)
        return
    work = GaugeMetricFamily(
        "zekron_queue_work_seconds",
        "Predicted seconds of one worker's time for the open generations and the lately refused images of a model.",
        labels=["model"],
    )
    for model_name, seconds in seconds_by_model.items():
        work.add_metric([model_name], seconds)
    yield work


def read_demand() -> Iterator[Metric]:
    """Return the images of each model that were refused of late because no live worker has it."""
    refused = demand.read()
    images = GaugeMetricFamily(
        "zekron_demand_images",
        "Images that were refused in the last two minutes because no live worker has the model.",
        labels=["model"],
    )
    for model_name in catalogue():
        images.add_metric([model_name], refused.get(model_name, 0))
    yield images
