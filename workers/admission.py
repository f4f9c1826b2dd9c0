"""Whether a new generation would be made in time: what waits already, against the speed of the workers that live."""

import logging
import math

import redis

from workers import history, presence

log = logging.getLogger(__name__)

# For a worker that has made nothing yet.
FIRST_GUESS_SECONDS = 5.0
# A worker that was restarted is back after about this long.
NO_WORKER_RETRY_SECONDS = 30
# The queue is counted no further than so many times what can be made within the limit.
LOOK_FACTOR = 10


class QueueTooLong(Exception):
    """The queue predicts a longer wait than a client may have; it may be shorter in `wait_seconds`."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__()
        self.wait_seconds = wait_seconds


def refuse_if_too_long(*, limit_seconds: int) -> None:
    """Raises QueueTooLong when the wait that is predicted is over the limit, or nobody works. Without Redis it
    cannot know, and lets everything in: what is not made in time is cancelled and free.
    """
    try:
        workers = presence.alive()
    except redis.RedisError as error:
        log.debug("nothing can be predicted of the queue: %s", error)
        return
    if not workers:
        raise QueueTooLong(NO_WORKER_RETRY_SECONDS)
    images_per_second = sum(1 / (worker.seconds_per_image or FIRST_GUESS_SECONDS) for worker in workers)
    most = math.ceil(LOOK_FACTOR * limit_seconds * images_per_second) + 1
    predicted_seconds = history.open_count(most=most) / images_per_second
    if predicted_seconds > limit_seconds:
        raise QueueTooLong(math.ceil(predicted_seconds - limit_seconds))
