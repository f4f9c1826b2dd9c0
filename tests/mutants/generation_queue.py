"""Mutations of the queue: what returns to it, who is told of it, and who passes over whom."""

from tests.mutants.mutation import Mutation

GENERATIONS = "workers/lifecycle/generations.py"
LIFE = "tests/workers/lifecycle/test_generations.py"
SWEEP = "tests/workers/lifecycle/test_recovery.py"

MUTATIONS = (
    Mutation(
        name="back in the queue: a retry is hinted at once",
        path=GENERATIONS,
        text="        hinted_at=None,\n        error_detail=detail,\n",
        without="        error_detail=detail,\n",
        tests=(f"{LIFE}::test_what_comes_back_into_the_queue_is_hinted_at_once",),
    ),
    Mutation(
        name="back in the queue: what is put back is hinted at once",
        path=GENERATIONS,
        text="        not_before=now,\n        hinted_at=None,\n    )\n",
        without="        not_before=now,\n    )\n",
        tests=(f"{LIFE}::test_what_comes_back_into_the_queue_is_hinted_at_once",),
    ),
    Mutation(
        name="back in the queue: what is rescued is hinted at once",
        path="workers/lifecycle/recovery.py",
        text="Status.QUEUED, not_before=now, hinted_at=None)",
        without="Status.QUEUED, not_before=now)",
        tests=(f"{LIFE}::test_what_comes_back_into_the_queue_is_hinted_at_once",),
    ),
    Mutation(
        name="claim: the time of the first attempt is kept",
        path="workers/lifecycle/attempt_statements.py",
        text="started_at = coalesce(started_at, {NOW})",
        without="started_at = {NOW}",
        tests=(f"{LIFE}::test_a_generation_keeps_the_time_of_its_first_attempt",),
    ),
    Mutation(
        name="a sweep passes over what another has locked",
        path="workers/lifecycle/transitions.py",
        text="Generation.objects.select_for_update(skip_locked=True)",
        without="Generation.objects.select_for_update()",
        tests=(f"{SWEEP}::test_a_sweep_passes_over_what_another_has_locked",),
    ),
    Mutation(
        name="an end is told after its commit",
        path=GENERATIONS,
        text="    transaction.on_commit(partial(_publish_ended, generation.pk))\n",
        without="    _publish_ended(generation.pk)\n",
        tests=(f"{LIFE}::test_an_end_is_told_once_it_is_committed",),
    ),
    Mutation(
        name="a message is sent after the commit of its generation",
        path=GENERATIONS,
        text="        transaction.on_commit(partial(_send_message, generation.pk))\n",
        without="        _send_message(generation.pk)\n",
        tests=(f"{LIFE}::test_a_message_is_sent_once_its_generation_is_committed",),
    ),
    Mutation(
        name="a silent worker does not count as alive",
        path="workers/messaging/worker_registry.py",
        text='_SEEN, time.time() - MAX_SILENCE_SECONDS, "+inf"',
        without='_SEEN, "-inf", "+inf"',
        tests=(
            "tests/workers/messaging/test_worker_registry.py::"
            "test_a_worker_is_alive_for_fifteen_seconds_after_its_last_entry",
        ),
    ),
    Mutation(
        name="give up: the last attempt has the time of its lease",
        path="workers/lifecycle/eligibility.py",
        text="Q(status=Status.RUNNING, lease_until__lt=now, attempt_count__gte=MAX_ATTEMPTS)",
        without="Q(status=Status.RUNNING, attempt_count__gte=MAX_ATTEMPTS)",
        tests=(f"{SWEEP}::test_the_last_attempt_goes_on_for_as_long_as_its_lease_is_renewed",),
    ),
    Mutation(
        name="rescue: the deadline",
        path="workers/lifecycle/recovery.py",
        text="Q(attempt_count__lt=MAX_ATTEMPTS, deadline_at__gt=now, ",
        without="Q(attempt_count__lt=MAX_ATTEMPTS, ",
        tests=(f"{SWEEP}::test_what_is_past_its_deadline_is_not_taken_back",),
    ),
    Mutation(
        name="an attempt whose lease is lost stores nothing",
        path="workers/gpu_worker/attempt.py",
        text="    if is_unwanted.is_set():\n",
        without="    if False:\n",
        tests=(
            "tests/workers/gpu_worker/test_attempt.py::test_a_lease_that_is_known_to_be_lost_stores_nothing",
        ),
    ),
)
