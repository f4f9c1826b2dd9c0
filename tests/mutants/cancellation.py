"""Mutations of asynchronous work and of cancellation."""

from tests.mutants.mutation import Mutation

GENERATIONS = "workers/lifecycle/generations.py"
CANCELLATION = "workers/lifecycle/cancellation.py"
HOLDS = "billing/holds.py"
CANCELS = "tests/workers/lifecycle/test_cancellation.py"
KEYS = "tests/workers/lifecycle/test_idempotency.py"
BATCHES = "tests/workers/engine/test_batcher.py"
ATTEMPTS = "tests/workers/gpu_worker/test_attempt.py"
LOST = "tests/zekron_api/waiting/test_lost_clients.py"
LOST_ROWS = "tests/workers/lifecycle/test_lost_clients.py"
ASYNC = "tests/zekron_api/endpoints/test_asynchronous.py"
CANCELS_BY_HTTP = "tests/zekron_api/endpoints/test_cancel_generation.py"
DELETES = "tests/workers/lifecycle/test_deletion.py"

MUTATIONS = (
    Mutation(
        name="cancel: a marked generation is not completed",
        path="workers/lifecycle/attempt_statements.py",
        text="        AND cancel_requested_at IS NULL\n",
        without="",
        tests=(f"{CANCELS}::test_a_marked_generation_is_not_completed_and_not_charged",),
    ),
    Mutation(
        name="cancel: a marked generation is not queued again",
        path=GENERATIONS,
        text="Q(cancel_requested_at__isnull=True, **guard)",
        without="Q(**guard)",
        tests=(f"{CANCELS}::test_a_marked_generation_never_goes_back_into_the_queue",),
    ),
    Mutation(
        name="cancel: a marked generation is not rescued",
        path="workers/lifecycle/recovery.py",
        text=", deadline_at__gt=now, cancel_requested_at__isnull=True)",
        without=", deadline_at__gt=now)",
        tests=(f"{CANCELS}::test_a_marked_generation_never_goes_back_into_the_queue",),
    ),
    Mutation(
        name="cancel: a marked generation whose worker dies at the last attempt does not fail",
        path="workers/lifecycle/eligibility.py",
        text="return exhausted & Q(cancel_requested_at__isnull=True)",
        without="return exhausted",
        tests=(f"{CANCELS}::test_a_sweep_cancels_what_was_marked_once_its_worker_is_dead",),
    ),
    Mutation(
        name="cancel: only what was marked is cancelled while it runs",
        path=GENERATIONS,
        text="guard=guard & Q(cancel_requested_at__isnull=False),",
        without="guard=guard,",
        tests=(f"{CANCELS}::test_nothing_is_cancelled_while_it_runs_unless_its_client_asked",),
    ),
    Mutation(
        name="cancel: only the holder of the lease ends it",
        path=CANCELLATION,
        text="mine = Q(lease_token=generation.lease_token)",
        without="mine = Q()",
        tests=(f"{CANCELS}::test_a_worker_whose_lease_is_lost_cancels_nothing",),
    ),
    Mutation(
        name="cancel: a live worker is waited for",
        path=CANCELLATION,
        text="Q(status=Status.RUNNING, lease_until__lt=now)",
        without="Q(status=Status.RUNNING)",
        tests=(f"{CANCELS}::test_a_sweep_cancels_what_was_marked_once_its_worker_is_dead",),
    ),
    Mutation(
        name="cancel: the sweep ends what a dead worker left",
        path="workers/lifecycle/recovery.py",
        text="    cancellation.end_abandoned(limit=MAX_ROWS_PER_SWEEP, now=now)\n",
        without="",
        tests=(f"{CANCELS}::test_a_sweep_cancels_what_was_marked_once_its_worker_is_dead",),
    ),
    Mutation(
        name="cancel: the worker learns of it",
        path=GENERATIONS,
        text="for lease_token, is_wanted in renewed if is_wanted}",
        without="for lease_token, is_wanted in renewed}",
        tests=(f"{CANCELS}::test_a_worker_learns_of_the_request_when_it_renews_its_leases",),
    ),
    Mutation(
        name="async: what was begun in time is not cancelled",
        path="workers/lifecycle/eligibility.py",
        text="Q(status=Status.QUEUED, attempt_count=0, queue_until__lt=now)",
        without="Q(status=Status.QUEUED, queue_until__lt=now)",
        tests=(f"{CANCELS}::test_asynchronous_work_that_was_begun_in_time_has_its_other_attempts",),
    ),
    Mutation(
        name="async: nothing is begun after its time in the queue",
        path="workers/lifecycle/eligibility.py",
        text="(queue_until IS NULL OR queue_until > {NOW} OR attempt_count > 0)",
        without="true",
        tests=(f"{CANCELS}::test_asynchronous_work_that_no_worker_begins_in_time_is_cancelled_and_free",),
    ),
    Mutation(
        name="async: its limit is its own",
        path=HOLDS,
        text="THEN %(count)s + open_async_count <=",
        without="THEN %(count)s + open_hold_count <=",
        tests=(f"{CANCELS}::test_asynchronous_and_synchronous_work_have_limits_of_their_own",),
    ),
    Mutation(
        name="async: it does not put off synchronous turns",
        path=HOLDS,
        text="open_hold_count - CASE WHEN %(is_async)s THEN 0 ELSE open_async_count END - %(count)s",
        without="open_hold_count - %(count)s",
        tests=(f"{CANCELS}::test_asynchronous_work_does_not_put_off_the_accounts_synchronous_turn",),
    ),
    Mutation(
        name="async: an end gives its place back",
        path=HOLDS,
        text="open_async_count = open_async_count - is_async::int,",
        without="open_async_count = open_async_count,",
        tests=(f"{CANCELS}::test_every_end_of_asynchronous_work_gives_its_place_back",),
    ),
    Mutation(
        name="async: the audit counts it",
        path="billing/audit.py",
        text="    (open_async_count <> open_async,",
        without="    (false,",
        tests=("tests/billing/test_tampering.py::test_the_audit_finds_tampering_with",),
    ),
    Mutation(
        name="idempotency: a key lives as long as its generation is open",
        path="workers/lifecycle/idempotency.py",
        text="_FREE) | Q(generation__expires_at__lte=now)",
        without="_FREE) | Q(generation__isnull=False)",
        tests=(f"{KEYS}::test_a_key_lives_at_least_as_long_as_its_image",),
    ),
    Mutation(
        name="idempotency: the key of a deleted generation lives a day",
        path="workers/lifecycle/idempotency.py",
        text="AND key.created_at <= excluded.created_at - interval '{KEY_LIFE",
        without="AND key.created_at <= excluded.created_at - 0 * interval '{KEY_LIFE",
        tests=(f"{DELETES}::test_the_key_of_a_deleted_generation_still_leads_to_it_for_a_day",),
    ),
    Mutation(
        name="delete: an open generation is not deleted",
        path="workers/lifecycle/deletion.py",
        text="        if generation.is_open:\n            raise StillOpen\n",
        without="",
        tests=(f"{DELETES}::test_an_open_generation_is_not_deleted",),
    ),
    Mutation(
        name="delete: the key of the image is destroyed",
        path="storage/images.py",
        text="    destroy_keys(image_ids=[image_id], now=now)\n",
        without="",
        tests=(f"{DELETES}::test_a_deleted_image_leaves_the_prompt",),
    ),
    Mutation(
        name="delete: the prompt is erased",
        path="workers/lifecycle/deletion.py",
        text="        erasure.erase(generation_ids=[generation_id])\n",
        without="",
        tests=(f"{DELETES}::test_a_deleted_generation_keeps_its_money_and_loses_image_prompt_and_seed",),
    ),
    Mutation(
        name="cancel: a batch stops when nobody wants its pictures",
        path="workers/engine/stage_executor.py",
        text="            if batch.jobs and all(job.order",
        without="            if False and all(job.order",
        tests=(f"{BATCHES}::test_a_batch_stops_early_when_nobody_wants_its_pictures",),
    ),
    Mutation(
        name="cancel: a batch goes on while anybody wants a picture",
        path="workers/engine/stage_executor.py",
        text="            if batch.jobs and all(job.order",
        without="            if batch.jobs and any(job.order",
        tests=(f"{BATCHES}::test_of_a_batch_only_the_unwanted_picture_is_dropped",),
    ),
    Mutation(
        name="cancel: an unwanted order is not begun",
        path="workers/engine/batcher.py",
        text="        self._drop_unwanted()\n",
        without="",
        tests=(f"{BATCHES}::test_an_unwanted_order_is_not_begun",),
    ),
    Mutation(
        name="cancel: a failed attempt is not queued again",
        path="workers/gpu_worker/attempt.py",
        text="        if not cancellation.end_requested(generation=generation):\n            _fail(",
        without="        if True:\n            _fail(",
        tests=(f"{ATTEMPTS}::test_a_failed_attempt_at_what_was_to_be_cancelled_cancels_it",),
    ),
    Mutation(
        name="a lost client: a reply that was sent is not lost",
        path="zekron_api/waiting/asgi_handler.py",
        text="        if not is_sent:\n",
        without="        if True:\n",
        tests=(f"{LOST}::test_a_client_that_got_its_reply_is_not_lost",),
    ),
    Mutation(
        name="a lost client: who leaves is noted",
        path="zekron_api/waiting/asgi_handler.py",
        text="            await self._note_lost(response)\n            return\n",
        without="            return\n",
        tests=(f"{LOST}::test_a_retry_of_a_lost_client_gets_the_image_of_its_first_try",),
    ),
    Mutation(
        name="a lost client: only a retry attaches",
        path="zekron_api/endpoints/submission.py",
        text='is_counted = count.isascii() and count.isdigit() and count.strip("0") != ""',
        without="is_counted = True",
        tests=(f"{LOST}::test_asking_twice_on_purpose_makes_two",),
    ),
    Mutation(
        name="a lost client: a retry attaches once",
        path="workers/lifecycle/lost_clients.py",
        text="SET client_lost_at = NULL, lost_digest = ''",
        without="SET lost_digest = lost_digest",
        tests=(LOST_ROWS,),
    ),
    Mutation(
        name="a lost client: the mark of a group lasts while one of it lives",
        path="workers/lifecycle/lost_clients.py",
        text="WHERE other.group_id = lost.id AND",
        without="WHERE false AND",
        tests=(f"{LOST_ROWS}::test_a_group_whose_first_failed_is_found_while_another_lives",),
    ),
    Mutation(
        name="a lost client: a group is marked while one of it lives",
        path="workers/lifecycle/lost_clients.py",
        text="Generation.objects.filter(alive | Q(Exists(others)), pk=generation_id)",
        without="Generation.objects.filter(alive, pk=generation_id)",
        tests=(f"{LOST_ROWS}::test_a_group_whose_first_failed_is_found_while_another_lives",),
    ),
    Mutation(
        name="a lost client: the digest has the API key",
        path="zekron_api/endpoints/submission.py",
        text="[keys.digest(api_key, secret_key=secret_key), *content]",
        without="[*content]",
        tests=(f"{LOST}::test_a_retry_with_another_key_of_the_account_is_a_new_request",),
    ),
    Mutation(
        name="cancel: a client that waits in vain cancels nothing asynchronous",
        path="zekron_api/endpoints/generation_response.py",
        text="Status.QUEUED or generation.is_async:",
        without="Status.QUEUED:",
        tests=(f"{ASYNC}::test_a_replay_of_an_open_one_attaches_in_the_way_in_which_it_is_asked",),
    ),
    Mutation(
        name="delete: an open generation is refused by name",
        path="zekron_api/endpoints/watch_generation.py",
        text="            raise errors.StillOpen from None\n",
        without="            pass\n",
        tests=(f"{CANCELS_BY_HTTP}::test_an_open_generation_is_not_deleted",),
    ),
    Mutation(
        name="delete: an image of another account is not deleted",
        path="zekron_api/endpoints/views.py",
        text="        if generation.account_id != self.account.pk:\n",
        without="        if False:\n",
        tests=(f"{CANCELS_BY_HTTP}::test_another_accounts_image_is_not_deleted",),
    ),
    Mutation(
        name="cancel: staff need the permission",
        path="workers/admin.py",
        text=' and request.user.has_perm(f"workers.{act}_generation")',
        without="",
        tests=("tests/workers/test_admin_cancel.py::test_staff_without_both_permissions_cancel_nothing",),
    ),
    Mutation(
        name="cancel: an operator who came second changes nothing",
        path="workers/lifecycle/operator_cancellation.py",
        text="    if asked.error_detail != detail:\n",
        without="    if False:\n",
        tests=("tests/workers/test_admin_cancel.py::test_a_second_cancellation_changes_nothing",),
    ),
)
