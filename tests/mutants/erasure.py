"""Mutations of the erasure of prompts and of the digests of requests."""

from tests.mutants.mutation import Mutation

ERASURE = "workers/lifecycle/erasure.py"
IDEMPOTENCY = "workers/lifecycle/idempotency.py"
ERASED = "tests/workers/lifecycle/test_erasure.py"
HTTP = "tests/zekron_api/endpoints/test_idempotency.py"
KEYS = "tests/workers/lifecycle/test_idempotency.py"

MUTATIONS = (
    Mutation(
        name="erasure: an open generation keeps its prompt",
        path=ERASURE,
        text="filter(pk__in=generation_ids, status__in=ENDED_STATUSES)",
        without="filter(pk__in=generation_ids)",
        tests=(f"{ERASED}::test_an_open_generation_keeps_its_prompt_even_when_asked_for",),
    ),
    Mutation(
        name="erasure: the seed goes too",
        path=ERASURE,
        text='ended.update(prompt="", parameters=kept)',
        without='ended.update(prompt="")',
        tests=(ERASED,),
    ),
    Mutation(
        name="erasure: only what was kept long enough",
        path=ERASURE,
        text=" & Q(ended_at__lte=now - retention)",
        without="",
        tests=(f"{ERASED}::test_a_prompt_is_erased_when_its_retention_is_over_and_not_before",),
    ),
    Mutation(
        name="erasure: none without a retention",
        path=ERASURE,
        text="    if retention is None:\n        return 0\n",
        without="    retention = retention or timedelta(0)\n",
        tests=(f"{ERASED}::test_without_a_retention_prompts_are_kept",),
    ),
    Mutation(
        name="erasure: the sweep's",
        path="workers/lifecycle/recovery.py",
        text="    erasure.erase_old(limit=MAX_ROWS_PER_SWEEP, now=now)\n",
        without="",
        tests=(f"{ERASED}::test_a_sweep_erases",),
    ),
    Mutation(
        name="idempotency: the digest of a request is keyed",
        path="workers/lifecycle/submission.py",
        text='"request_digest": named.request_digest}',
        without='"request_digest": named.former_digests[-1]}',
        tests=(f"{KEYS}::test_the_digest_of_a_request_needs_the_secret_key",),
    ),
    Mutation(
        name="idempotency: a digest of the release before still matches",
        path=IDEMPOTENCY,
        text="request_digest in (self.request_digest, *self.former_digests)",
        without="request_digest == self.request_digest",
        tests=(f"{KEYS}::test_a_digest_that_the_release_before_stored_still_matches",),
    ),
    Mutation(
        name="idempotency: another request under the same key is refused",
        path=IDEMPOTENCY,
        text="    if not idempotency.is_of(remembered.request_digest):\n",
        without="    if False:\n",
        tests=(f"{KEYS}::test_a_digest_that_the_release_before_stored_still_matches",),
    ),
    Mutation(
        name="idempotency: a key is forgotten after a day and not before",
        path=IDEMPOTENCY,
        text="filter(_is_over(now))",
        without="filter(_is_over(now + timedelta(hours=1)))",
        tests=(f"{KEYS}::test_a_key_is_forgotten_after_a_day_and_not_before",),
    ),
    Mutation(
        name="idempotency: the digest has the images in their order",
        path="zekron_api/endpoints/create_generation.py",
        text="*images_of(fields), *_list",
        without="*sorted(images_of(fields)), *_list",
        tests=(f"{HTTP}::test_the_same_images_in_another_order_are_another_request",),
    ),
)
