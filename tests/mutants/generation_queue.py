"""Mutations of the queue: what returns to it, who is told of it, and who passes over whom."""

from tests.mutants.mutation import Mutation

GENERATIONS = "workers/lifecycle/generations.py"
LIFE = "tests/workers/lifecycle/test_generations.py"

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
        path=GENERATIONS,
        text='started_at=Coalesce("started_at", now)',
        without="started_at=now",
        tests=(f"{LIFE}::test_a_generation_keeps_the_time_of_its_first_attempt",),
    ),
    Mutation(
        name="a sweep passes over what another has locked",
        path="workers/lifecycle/transitions.py",
        text="Generation.objects.select_for_update(skip_locked=True)",
        without="Generation.objects.select_for_update()",
        tests=("tests/workers/lifecycle/test_recovery.py::test_a_sweep_passes_over_what_another_has_locked",),
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
)
