"""Mutations of what scaling depends on: demand, readiness by role, recycling, progress of loading, remote engines."""

from tests.mutants.mutation import Mutation

WORK_METRICS = "tests/zekron_api/ops/test_work_metrics.py"
HEALTH = "tests/zekron_api/ops/test_health.py"
RECYCLING = "tests/workers/gpu_worker/test_recycling.py"
PROGRESS = "tests/workers/engine/test_loading_progress.py"
REMOTE = "tests/workers/remote/test_engine.py"
REMOTE_REQUESTS = "tests/workers/remote/test_requests.py"
REMOTE_REPLIES = "tests/workers/remote/test_replies.py"

MUTATIONS = (
    Mutation(
        name="an image that is refused without a worker is demand",
        path="workers/lifecycle/admission.py",
        text="            demand.note(model_name=model_name, image_count=demanded_count)\n",
        without="            pass\n",
        tests=(WORK_METRICS,),
    ),
    Mutation(
        name="what an account cannot pay for is no demand",
        path="zekron_api/endpoints/create_generation.py",
        text="is_demand=account.available_micros >= fields",
        without="is_demand=True or account.available_micros >= fields",
        tests=(WORK_METRICS,),
    ),
    Mutation(
        name="demand is a part of the predicted work",
        path="workers/lifecycle/queue_work.py",
        text="(open_counts.get(name, 0) + refused.get(name, 0))",
        without="open_counts.get(name, 0)",
        tests=("tests/workers/lifecycle/test_queue_work.py",),
    ),
    Mutation(
        name="redis does not take web processes out of service",
        path="zekron_api/ops/health.py",
        text='frozenset({"database", "store"})',
        without='frozenset({"database", "store", "redis"})',
        tests=(f"{HEALTH}::test_the_web_tier_needs_the_database_and_the_store_but_not_redis",),
    ),
    Mutation(
        name="recycling: a worker is told once to stop",
        path="workers/gpu_worker/recycling.py",
        text="        self._is_over = True\n",
        without="",
        tests=(RECYCLING,),
    ),
    Mutation(
        name="recycling: workers that started together stop apart",
        path="workers/gpu_worker/recycling.py",
        text="round(max_generations * draw(LEAST_SHARE, 1.0)) or max_generations",
        without="max_generations",
        tests=(RECYCLING,),
    ),
    Mutation(
        name="recycling: a limit that the models alone exceed is refused",
        path="workers/gpu_worker/recycling.py",
        text="        if used_mib > self._max_memory_mib:\n",
        without="        if False:\n",
        tests=(RECYCLING,),
    ),
    Mutation(
        name="loading: the progress never goes back",
        path="workers/engine/loading_progress.py",
        text="max(self.fraction or 0.0, min(fraction, MAX_FRACTION))",
        without="min(fraction, MAX_FRACTION)",
        tests=(PROGRESS,),
    ),
    Mutation(
        name="loading: the weights that edit are expected from the start",
        path="workers/pipelines/diffusers/qwen_image.py",
        text="    _expect_edit_weights(model)\n",
        without="",
        tests=(
            "tests/workers/pipelines/runtime/test_loading.py::"
            "test_the_bytes_of_weights_that_edit_are_expected_from_the_start",
        ),
    ),
    Mutation(
        name="remote: an order that fails does not fail its batch",
        path="workers/remote/engine.py",
        text="        if errors and len(outcomes) == 1:\n",
        without="        if errors:\n",
        tests=(f"{REMOTE}::test_an_order_that_fails_does_not_fail_its_neighbours",),
    ),
    Mutation(
        name="remote: a reply is bounded",
        path="workers/remote/requests.py",
        text="            if len(content) > most:\n",
        without="            if False:\n",
        tests=(f"{REMOTE_REPLIES}::test_a_reply_without_the_ordered_picture_is_the_error_that_it_means",),
    ),
    Mutation(
        name="remote: an error of the server is no refusal of content",
        path="workers/remote/replies.py",
        text="    if status in _REFUSED_ORDER and REFUSED_CONTENT",
        without="    if REFUSED_CONTENT",
        tests=(f"{REMOTE_REPLIES}::test_a_reply_without_the_ordered_picture_is_the_error_that_it_means",),
    ),
    Mutation(
        name="remote: an error quotes no text of the server",
        path="workers/remote/replies.py",
        text="isinstance(name, str) and _CODE.fullmatch(name)",
        without="isinstance(name, str)",
        tests=(f"{REMOTE_REQUESTS}::test_logs_hold_neither_key_nor_prompt",),
    ),
    Mutation(
        name="remote: a proxy of the environment gets no request",
        path="workers/remote/requests.py",
        text="        trust_env=False,\n",
        without="",
        tests=(f"{REMOTE_REQUESTS}::test_no_proxy_of_the_environment_is_used",),
    ),
    Mutation(
        name="an order that its engine refuses is tried once",
        path="workers/gpu_worker/attempt.py",
        text="    except OrderRefused as error:\n",
        without="    except ZeroDivisionError as error:\n",
        tests=(
            "tests/workers/gpu_worker/test_attempt.py::"
            "test_a_generation_that_its_engine_refuses_fails_at_once_and_is_free",
        ),
    ),
)
