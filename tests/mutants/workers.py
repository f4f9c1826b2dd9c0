"""Mutations of a generation's life."""

from tests.mutants.mutation import Mutation

GENERATIONS = "workers/lifecycle/generations.py"
LIFE = "tests/workers/lifecycle/test_generations.py"
SWEEP = "tests/workers/lifecycle/test_recovery.py"
SUBMISSION = "tests/workers/lifecycle/test_submission.py"
SETTLEMENT = "tests/workers/lifecycle/test_completion.py"
SEVERAL = "tests/zekron_api/endpoints/test_several_images.py"

MUTATIONS = (
    Mutation(
        name="each transition starts from its own status",
        path="workers/lifecycle/transitions.py",
        text="Generation.objects.filter(guard, status=source)",
        without="Generation.objects.filter(guard)",
        tests=(f"{LIFE}::test_every_transition_moves_only_from_the_statuses_that_allow_it",),
    ),
    Mutation(
        name="complete: the lease's token",
        path="workers/lifecycle/attempt_statements.py",
        text=" AND status = 'running' AND lease_token = %(lease_token)s",
        without=" AND status = 'running'",
        tests=(f"{LIFE}::test_a_worker_whose_lease_went_to_another_changes_nothing",),
    ),
    Mutation(
        name="fail: the lease's token",
        path=GENERATIONS,
        text="        Status.FAILED,\n        guard=Q(lease_token=generation.lease_token),",
        without="        Status.FAILED,\n        guard=Q(),",
        tests=(f"{LIFE}::test_a_worker_whose_lease_went_to_another_changes_nothing",),
    ),
    Mutation(
        name="retry: the lease's token",
        path=GENERATIONS,
        text="_wanted(lease_token=generation.lease_token, attempt_count__lt=MAX_ATTEMPTS),",
        without="_wanted(attempt_count__lt=MAX_ATTEMPTS),",
        tests=(f"{LIFE}::test_a_worker_whose_lease_went_to_another_changes_nothing",),
    ),
    Mutation(
        name="renew: the lease's token",
        path="workers/lifecycle/attempt_statements.py",
        text=" AND lease_token = ANY(%(lease_tokens)s::uuid[])",
        without="",
        tests=(f"{LIFE}::test_a_lease_that_is_not_named_is_not_renewed",),
    ),
    Mutation(
        name="put back: the lease's token",
        path=GENERATIONS,
        text="_wanted(lease_token__in=lease_tokens),",
        without="_wanted(),",
        tests=(f"{LIFE}::test_what_is_put_back_has_the_attempts_it_had_and_only_ones_own_is",),
    ),
    Mutation(
        name="claim: the cap on attempts",
        path="workers/lifecycle/eligibility.py",
        text=" AND attempt_count < {MAX_ATTEMPTS}",
        without="",
        tests=(f"{LIFE}::test_what_is_queued_after_all_its_attempts_is_not_claimed",),
    ),
    Mutation(
        name="retry: the cap on attempts",
        path=GENERATIONS,
        text="_wanted(lease_token=generation.lease_token, attempt_count__lt=MAX_ATTEMPTS),",
        without="_wanted(lease_token=generation.lease_token),",
        tests=(f"{LIFE}::test_nothing_is_claimed_too_early_too_late_or_too_often",),
    ),
    Mutation(
        name="rescue: the cap on attempts",
        path="workers/lifecycle/recovery.py",
        text="wanted = Q(attempt_count__lt=MAX_ATTEMPTS, deadline_at",
        without="wanted = Q(deadline_at",
        tests=(f"{SWEEP}::test_what_has_had_all_its_attempts_is_not_taken_back",),
    ),
    Mutation(
        name="the cap on attempts: the database's check",
        path="workers/migrations/0001_initial.py",
        text='models.Q(("attempt_count__range", (0, 3)))',
        without='models.Q(("attempt_count__range", (0, 99)))',
        tests=(f"{LIFE}::test_the_database_refuses_a_row_that_contradicts_itself",),
    ),
    Mutation(
        name="claim: the backoff",
        path="workers/lifecycle/eligibility.py",
        text=" AND not_before <= {NOW}",
        without="",
        tests=(f"{LIFE}::test_nothing_is_claimed_too_early_too_late_or_too_often",),
    ),
    Mutation(
        name="claim: the deadline",
        path="workers/lifecycle/eligibility.py",
        text=" AND deadline_at > {NOW}",
        without="",
        tests=(f"{LIFE}::test_nothing_is_claimed_too_early_too_late_or_too_often",),
    ),
    Mutation(
        name="give up: the deadline",
        path="workers/lifecycle/eligibility.py",
        text="return past_deadline(now) | attempts_exhausted(now)",
        without="return attempts_exhausted(now)",
        tests=(f"{SWEEP}::test_what_is_open_past_its_deadline_fails_and_is_free",),
    ),
    Mutation(
        name="give up: only what is overdue",
        path=GENERATIONS,
        text="guard=eligibility.overdue(now),",
        without="guard=Q(),",
        tests=(f"{SWEEP}::test_what_is_not_overdue_is_not_given_up_even_when_asked_for",),
    ),
    Mutation(
        name="rescue: only what no worker holds",
        path="workers/lifecycle/recovery.py",
        text="status=Status.RUNNING, lease_until__lt=now + timedelta(seconds=LEASE_SECONDS - silence_seconds)",
        without="status=Status.RUNNING",
        tests=(f"{SWEEP}::test_a_dead_workers_generation_is_queued_and_hinted_again",),
    ),
    Mutation(
        name="fail: the release in the same transaction",
        path=GENERATIONS,
        text="""    with transaction.atomic():
        moved = move(generation.pk, source, target, guard=guard, **changes)
        if moved:
""",
        without="""    moved = move(generation.pk, source, target, guard=guard, **changes)
    with transaction.atomic():
        if moved:
""",
        tests=(f"{LIFE}::test_no_generation_ends_unless_its_money_moves_with_it",),
    ),
    Mutation(
        name="complete: the charge in the same statement",
        path="workers/lifecycle/attempt_statements.py",
        text='{holds.settle(after="leased")}',
        without="entry AS (SELECT reservation_id FROM leased)",
        tests=(f"{LIFE}::test_no_generation_ends_unless_its_money_moves_with_it",),
    ),
    Mutation(
        name="submit: the limit of what is open, asked of the account's row",
        path="billing/holds.py",
        text="open_hold_count - open_async_count <= coalesce(open_limit, %(open_limit)s) END",
        without="0 <= coalesce(open_limit, %(open_limit)s) END",
        tests=(f"{LIFE}::test_of_64_submissions_under_a_limit_of_five_exactly_five_are_accepted",),
    ),
    Mutation(
        name="claim: nobody waits for, or takes, what another is claiming",
        path="workers/lifecycle/attempt_statements.py",
        text=" LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED",
        without=" LIMIT 1",
        tests=(f"{LIFE}::test_a_claim_passes_over_what_another_is_claiming_and_waits_for_nobody",),
    ),
    Mutation(
        name="a source's key goes with its generation's end",
        path=GENERATIONS,
        text="    if generation.kind == Kind.EDIT:\n",
        without="    if False:\n",
        tests=(f"{LIFE}::test_source_images_are_unreadable_once_their_generation_ends",),
    ),
    Mutation(
        name="the same idempotency key is accepted once: a key that belongs to another generation",
        path="workers/lifecycle/idempotency.py",
        text="\n    WHERE EXISTS (SELECT",
        without="\n    WHERE true OR EXISTS (SELECT",
        tests=(
            "tests/workers/lifecycle/test_idempotency.py::test_the_second_of_two_equal_submissions_holds_nothing",
        ),
    ),
    Mutation(
        name="the same idempotency key is accepted once: a generation that cannot be seen yet counts as open",
        path="workers/lifecycle/idempotency.py",
        text="WHERE EXISTS (SELECT FROM workers_generation WHERE id = key.generation_id)\n        AND NOT",
        without="WHERE NOT",
        tests=(f"{SUBMISSION}::test_a_twin_that_waited_for_the_lock_finds_the_key_taken",),
    ),
    Mutation(
        name="a lost client: a retry waits for a worker that writes the row",
        path="workers/lifecycle/lost_clients.py",
        text="LIMIT 1 FOR NO KEY UPDATE\n",
        without="LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED\n",
        tests=(
            "tests/workers/lifecycle/test_lost_clients.py::test_a_retry_waits_for_a_worker_that_writes_the_row",
        ),
    ),
    Mutation(
        name="several pictures: a key stands for all of its generations, in the statement",
        path="workers/lifecycle/idempotency.py",
        text="(id = key.generation_id OR group_id = key.generation_id)",
        without="id = key.generation_id",
        tests=(f"{SEVERAL}::test_a_first_image_that_failed_does_not_free_the_key_in_the_statement",),
    ),
    Mutation(
        name="several pictures: a key stands for all of its generations, in the query",
        path="workers/lifecycle/idempotency.py",
        text="_FREE) & Q(~Exists(_not_free_of_group()))",
        without="_FREE)",
        tests=(f"{SEVERAL}::test_a_key_is_free_again_only_if_all_images_failed",),
    ),
    Mutation(
        name="several pictures: each has a seed of its own",
        path="zekron_api/endpoints/create_generation.py",
        text="[(first_seed + index) %",
        without="[(first_seed) %",
        tests=(f"{SEVERAL}::test_each_image_has_a_row_a_seed_and_a_price_of_its_own",),
    ),
    Mutation(
        name="several pictures: each has sources of its own",
        path="zekron_api/endpoints/create_generation.py",
        text="        for own in sealed:\n",
        without="        for own in sealed[:1]:\n",
        tests=(f"{SEVERAL}::test_an_edit_has_its_own_sources_for_each_image",),
    ),
    Mutation(
        name="complete: the image expires as early as its client asked",
        path="workers/lifecycle/attempt_statements.py",
        text="(parameters->>'expires_in')::int",
        without="(parameters->>'expires')::int",
        tests=(
            "tests/zekron_api/endpoints/test_parameter_fields.py::test_an_image_expires_as_early_as_its_client_asks",
        ),
    ),
    Mutation(
        name="several pictures: there is money for all of them",
        path="billing/holds.py",
        text=">= %(count)s * %(quote_micros)s\n",
        without=">= %(quote_micros)s\n",
        tests=(f"{SUBMISSION}::test_several_pictures_are_accepted_all_or_none",),
    ),
    Mutation(
        name="several pictures: the limit of what is open is for all of them",
        path="billing/holds.py",
        text="ELSE %(count)s + open_hold_count",
        without="ELSE 1 + open_hold_count",
        tests=(f"{SUBMISSION}::test_several_pictures_are_accepted_all_or_none",),
    ),
    Mutation(
        name="complete: the image expires a day after its completion",
        path="workers/lifecycle/attempt_statements.py",
        text='f"{NOW} + (SELECT image_life FROM leased)"',
        without='"put.expires_at"',
        tests=(f"{LIFE}::test_on_the_databases_own_clock_both_rows_expire_at_the_same_instant",),
    ),
    Mutation(
        name="the same idempotency key is accepted once: the unique index",
        path="workers/migrations/0002_idempotency_keys.py",
        text='fields=("account", "key_digest"), name="idempotency_key_once"',
        without='fields=("account", "key_digest", "id"), name="idempotency_key_once"',
        tests=("tests/workers/lifecycle/test_idempotency.py",),
    ),
    Mutation(
        name="forget: a key that is renewed in the same moment stays",
        path="workers/lifecycle/idempotency.py",
        text='old.select_for_update(skip_locked=True, of=("self",)).values_list',
        without="old.values_list",
        tests=(
            "tests/workers/lifecycle/test_idempotency.py::test_a_key_that_a_submission_renews_at_the_same_moment_is_not_forgotten",
        ),
    ),
    Mutation(
        name="forget: a key is kept for a whole day",
        path="workers/lifecycle/idempotency.py",
        text="now - KEY_LIFE) & ended",
        without="now - KEY_LIFE + timedelta(hours=1)) & ended",
        tests=(
            "tests/workers/lifecycle/test_deletion.py::test_the_key_of_a_deleted_generation_still_leads_to_it_for_a_day",
        ),
    ),
    Mutation(
        name="a COMMIT without an answer is looked up before it is taken for lost",
        path="workers/lifecycle/completion.py",
        text="        if not _is_completed_with(generation, image):\n            raise\n",
        without="        raise\n",
        tests=(f"{SETTLEMENT}::test_a_commit_whose_answer_was_lost_is_found_and_not_made_again",),
    ),
    Mutation(
        name="another's completion is not taken for one's own",
        path="workers/lifecycle/completion.py",
        text="    return row.filter(image__object_key=image.object_key).exists()\n",
        without="    return row.exists()\n",
        tests=(f"{SETTLEMENT}::test_a_generation_that_another_completed_is_not_taken_for_ones_own",),
    ),
    Mutation(
        name="an object is kept while it is not known whether its row was committed",
        path="workers/gpu_worker/attempt.py",
        text="(generations.LeaseLost, generations.CancelRequested):\n        images.discard",
        without="(DatabaseError, generations.LeaseLost, generations.CancelRequested):\n        images.discard",
        tests=(f"{SETTLEMENT}::test_an_object_is_kept_while_nobody_knows_whether_its_row_was_committed",),
    ),
    Mutation(
        name="a picture that is none is not charged",
        path="workers/gpu_worker/attempt.py",
        text="    refuse_unfit(picture, order)\n",
        without="",
        tests=(
            "tests/workers/gpu_worker/test_attempt.py::test_a_picture_that_is_black_all_over_is_never_stored_nor_charged",
        ),
    ),
    Mutation(
        name="a silent PostgreSQL: the heartbeat gives it up in time",
        path="workers/gpu_worker/heartbeat.py",
        text="            with time_limits.waiting_at_most(seconds=MAX_ANSWER_SECONDS):\n",
        without="            if True:\n",
        tests=("tests/workers/gpu_worker/test_heartbeat.py",),
    ),
    Mutation(
        name="a thread that breaks: the heartbeat goes on",
        path="workers/gpu_worker/heartbeat.py",
        text='            background.survive(name="heartbeat", work=self._beat_in_thread)\n',
        without='            if not background.survive(name="heartbeat", work=self._beat_in_thread):\n'
        "                break\n",
        tests=("tests/workers/gpu_worker/test_heartbeat.py",),
    ),
    Mutation(
        name="a thread that breaks: the poller goes on",
        path="workers/gpu_worker/poller.py",
        text="            _try(self._poll)\n",
        without="            if not _try(self._poll):\n                break\n",
        tests=("tests/workers/gpu_worker/test_poller.py",),
    ),
    Mutation(
        name="a thread that breaks: an order without a key fails alone",
        path="workers/engine/batcher.py",
        text="            job.batch_limit = self._limit_batch(order)\n        except Exception as error:",
        without="            job.batch_limit = self._limit_batch(order)\n        except ZeroDivisionError as error:",
        tests=("tests/workers/engine/test_batcher.py::test_an_order_without_a_key_fails_alone",),
    ),
    Mutation(
        name="a device that hangs: the worker leaves it",
        path="workers/engine/batcher.py",
        text="        return orders > 0 and time.monotonic() - self._executor.progressed_at > limit",
        without="        return False",
        tests=("tests/workers/engine/test_batcher.py",),
    ),
    Mutation(
        name="a device that hangs: a slow model does not",
        path="workers/engine/batcher.py",
        text="max(MIN_HANG_SECONDS, HANG_PREDICTIONS * each * orders)",
        without="MIN_HANG_SECONDS",
        tests=("tests/workers/engine/test_batcher.py::test_a_worker_hangs_when_no_stage_goes_on_for_long",),
    ),
    Mutation(
        name="an order without memory is tried once without company",
        path="workers/engine/batcher.py",
        text="    return len(batch.jobs) > 1 or (",
        without="    return len(batch.jobs) > 1 or False and (",
        tests=("tests/workers/engine/test_batcher.py",),
    ),
    Mutation(
        name="an order without memory fails at once",
        path="workers/gpu_worker/attempt.py",
        text="    except OutOfDeviceMemory as error:",
        without="    except ZeroDivisionError as error:",
        tests=("tests/workers/gpu_worker/test_attempt.py",),
    ),
    Mutation(
        name="a batch must be worth its wait",
        path="workers/engine/batch_costs.py",
        text="        if known[best] <= known[1] * (1 - MIN_GAIN):\n            return best",
        without="        if known[best] <= known[1] * 10:\n            return best",
        tests=("tests/workers/engine/test_batch_costs.py",),
    ),
    Mutation(
        name="a free device is predicted after all that was launched",
        path="workers/engine/stage_executor.py",
        text="since=max(batch.denoised_from, self.free_at)",
        without="since=batch.denoised_from",
        tests=("tests/workers/engine/test_batcher.py",),
    ),
    Mutation(
        name="an edit takes the place of several creates in a batch",
        path="workers/pipelines/flux2/engine.py",
        text="self.batch_limit * large_tokens // tokens",
        without="self.batch_limit",
        tests=(
            "tests/workers/pipelines/flux2/test_engine.py::test_a_batch_holds_fewer_orders_with_many_tokens",
        ),
    ),
    Mutation(
        name="a thread that breaks: its batcher ends",
        path="workers/engine/stage_executor.py",
        text="            self._on_broken(error)\n",
        without="            pass\n",
        tests=(
            "tests/workers/engine/test_batcher.py::test_a_thread_that_breaks_fails_every_order_and_is_told_once",
        ),
    ),
    Mutation(
        name="no garbage is collected while an adapter is imported",
        path="workers/engine/interface.py",
        text="        with _without_garbage_collection():\n",
        without="        if True:\n",
        tests=("tests/workers/engine/test_interface.py",),
    ),
    Mutation(
        name="Django's start creates the Celery app",
        path="zekron_api/apps.py",
        text="from zekron_api.celery import app as celery_app\n",
        without="celery_app = None\n",
        tests=(
            "tests/zekron_api/test_celery.py::test_a_process_that_only_starts_django_sends_tasks_by_our_settings",
        ),
    ),
    Mutation(
        name="Celery's processes load no endpoint",
        path="Procfile",
        text="beat: celery --skip-checks ",
        without="beat: celery ",
        tests=("tests/zekron_api/test_celery.py::test_workers_and_beat_load_no_endpoint",),
    ),
    Mutation(
        name="make run: no process starts before the database is prepared",
        path="zekron_api/local/supervisord.py",
        text='"autostart": "false"',
        without='"autostart": "true"',
        tests=(
            "tests/zekron_api/local/test_supervisord.py::test_a_process_starts_when_it_is_told_and_not_before",
        ),
    ),
    Mutation(
        name="make run: the GPU worker starts early only on a migrated database",
        path="zekron_api/local/run.py",
        text=" and preparation.has_all_migrations(servers.postgres_url(VAR_DIR)):",
        without=":",
        tests=(
            "tests/zekron_api/local/test_run.py::test_the_gpu_worker_starts_before_the_migrations_if_there_are_none",
        ),
    ),
    Mutation(
        name="make run: one missing migration is noticed",
        path="zekron_api/local/preparation.py",
        text="    return applied >= {(file.parent.parent.name, file.stem) for file in files}\n",
        without="    return bool(applied)\n",
        tests=("tests/zekron_api/local/test_preparation.py",),
    ),
    Mutation(
        name="make run: the processes have ended before their servers stop",
        path="zekron_api/local/supervisord.py",
        text="            self.process.wait(timeout=sum(STOP_SECONDS.values()) + DEFAULT_STOP_SECONDS)\n",
        without="            return\n",
        tests=(
            "tests/zekron_api/local/test_supervisord.py::test_a_process_starts_when_it_is_told_and_not_before",
        ),
    ),
    Mutation(
        name="what an adapter's import left is not walked again",
        path="workers/engine/interface.py",
        text="        gc.freeze()\n",
        without="",
        tests=("tests/workers/engine/test_interface.py",),
    ),
    Mutation(
        name="Celery adds no line to each task",
        path="zekron_api/settings.py",
        text='"celery.app.trace": {"level": "WARNING"}',
        without='"celery.app.trace": {"level": "INFO"}',
        tests=("tests/zekron_api/test_celery.py",),
    ),
    Mutation(
        name="a thread that breaks: its process ends",
        path="workers/gpu_worker/process.py",
        text='            on_broken=partial(self._leave, f"a thread of {model.name} broke"),\n',
        without="",
        tests=(
            "tests/workers/gpu_worker/test_process.py::test_a_broken_thread_ends_the_worker_and_its_generation_is_tried_again",
        ),
    ),
)
