"""Mutations of what a client is told about time, and of the room in which clients wait."""

from tests.mutants.mutation import Mutation

ROOM = "zekron_api/waiting/asgi_handler.py"
WAITERS = "zekron_api/waiting/completion_waiters.py"
WAITING = "tests/zekron_api/waiting/test_completion_waiters.py"
RATE = "zekron_api/http/rate_limit.py"
RATES = "tests/zekron_api/http/test_rate_limit.py"
QUEUE_READINGS = "workers/lifecycle/queue_readings.py"
READINGS = "tests/workers/lifecycle/test_queue_readings.py"
SLOW_READER = (
    "tests/zekron_api/waiting/test_http_connection.py::"
    "test_a_client_that_does_not_read_is_cut_off_from_the_rest_of_its_reply"
)

MUTATIONS = (
    Mutation(
        name="an image ends at its time and not a second later",
        path="zekron_api/endpoints/views.py",
        text="        if generation.expires_at <= timezone.now():\n",
        without="        if generation.expires_at.timestamp() + 0.9 <= timezone.now().timestamp():\n",
        tests=(
            "tests/zekron_api/endpoints/test_views.py::"
            "test_an_image_is_served_until_the_microsecond_of_its_expiry",
        ),
    ),
    Mutation(
        name="an image ends at the instant of its time",
        path="zekron_api/endpoints/views.py",
        text="        if generation.expires_at <= timezone.now():\n",
        without="        if generation.expires_at < timezone.now():\n",
        tests=(
            "tests/zekron_api/endpoints/test_views.py::"
            "test_an_image_is_served_until_the_microsecond_of_its_expiry",
        ),
    ),
    Mutation(
        name="a slow reader: its reply has a time limit",
        path=ROOM,
        text="sending.limit_seconds(len(response.content))",
        without="None",
        tests=(SLOW_READER,),
    ),
    Mutation(
        name="a slow reader: its connection is cut off",
        path=ROOM,
        text="            await sending.cut_off(send)\n",
        without="",
        tests=(SLOW_READER,),
    ),
    Mutation(
        name="metrics: a stream is no waiting client",
        path=ROOM,
        text="lambda: len(self.waiters) - self.streams.watched_count",
        without="lambda: len(self.waiters)",
        tests=(
            "tests/zekron_api/waiting/test_event_streams.py::"
            "test_metrics_count_the_streams_and_the_waiting_clients_of_the_process",
        ),
    ),
    Mutation(
        name="metrics: a client that left waits no longer",
        path=WAITERS,
        text="            self._count -= 1\n",
        without="",
        tests=(
            "tests/zekron_api/waiting/test_event_streams.py::"
            "test_metrics_count_the_streams_and_the_waiting_clients_of_the_process",
        ),
    ),
    Mutation(
        name="waiters: who has left is forgotten",
        path=WAITERS,
        text="        if not futures:\n            self._futures.pop(generation_id, None)\n",
        without="",
        tests=(f"{WAITING}::test_a_generation_whose_clients_have_left_is_not_asked_for_again",),
    ),
    Mutation(
        name="waiters: who stays is not forgotten with who has left",
        path=WAITERS,
        text="        if not futures:\n            self._futures.pop(generation_id, None)\n",
        without="        self._futures.pop(generation_id, None)\n",
        tests=(f"{WAITING}::test_a_generation_whose_clients_have_left_is_not_asked_for_again",),
    ),
    Mutation(
        name="waiters: recent ends are remembered up to a number",
        path=WAITERS,
        text="            self._recent.popitem(last=False)\n",
        without="            pass\n",
        tests=(f"{WAITING}::test_the_oldest_of_the_recent_ends_is_forgotten_first",),
    ),
    Mutation(
        name="Retry-After: a whole wait for the rate",
        path=RATE,
        text="max(1, self.reset_at - math.floor(time.time()))",
        without="max(1, self.reset_at - math.floor(time.time()) - 1)",
        tests=(f"{RATES}::test_a_request_after_the_told_wait_is_admitted",),
    ),
    Mutation(
        name="Retry-After: the end of the window is rounded up",
        path=RATE,
        text="reset_at=math.ceil(window.reset_time)",
        without="reset_at=math.floor(window.reset_time)",
        tests=(f"{RATES}::test_a_request_after_the_told_wait_is_admitted",),
    ),
    Mutation(
        name="Retry-After: a whole wait for the logins",
        path="zekron_api/http/login_limit.py",
        text="max(1, rate.reset_at - math.floor(time.time()))",
        without="max(1, rate.reset_at - math.floor(time.time()) - 1)",
        tests=(
            "tests/zekron_api/http/test_login_limit.py::"
            "test_a_refused_login_says_when_to_try_again_in_the_envelope",
        ),
    ),
    Mutation(
        name="Retry-After: the predicted wait is rounded up",
        path="workers/lifecycle/admission.py",
        text="math.ceil(wait_seconds - first_limit_seconds)",
        without="math.floor(wait_seconds - first_limit_seconds)",
        tests=(
            "tests/zekron_api/endpoints/test_admission.py::"
            "test_a_queue_that_takes_longer_than_a_client_waits_refuses_with_the_time_until_it_does_not",
        ),
    ),
    Mutation(
        name="a burst within a second counts itself",
        path="workers/lifecycle/admission.py",
        text="    _readings.note_admission(_counted_as(model_name), image_count=image_count)\n",
        without="",
        tests=(READINGS,),
    ),
    Mutation(
        name="nothing is refused by an old count of the queue",
        path="workers/lifecycle/admission.py",
        text="model_name, limit_seconds, max_age_seconds=RECOUNT_SECONDS",
        without="model_name, limit_seconds",
        tests=(READINGS,),
    ),
    Mutation(
        name="a burst of groups counts each image",
        path="workers/lifecycle/admission.py",
        text="_readings.note_admission(_counted_as(model_name), image_count=image_count)",
        without="_readings.note_admission(_counted_as(model_name))",
        tests=(READINGS,),
    ),
    Mutation(
        name="a group is let in by the start of its last image",
        path="workers/lifecycle/admission.py",
        text="limit_seconds - (image_count - 1) / speed.images_per_second",
        without="limit_seconds",
        tests=(READINGS,),
    ),
    Mutation(
        name="an admission while the queue is counted counts itself",
        path=QUEUE_READINGS,
        text="        return _Count(queries.count_open(most=most, model=model), admitted_before)",
        without="        return _Count(queries.count_open(most=most, model=model), self._admitted[model])",
        tests=(READINGS,),
    ),
    Mutation(
        name="while one thread counts the queue, the others do not",
        path=QUEUE_READINGS,
        text="self._is_being_read or now",
        without="now",
        tests=(READINGS,),
    ),
    Mutation(
        name="nobody is refused on an old list of workers",
        path=QUEUE_READINGS,
        text=" and is_recent and is_useful(value):",
        without=" and is_recent:",
        tests=(READINGS,),
    ),
)
