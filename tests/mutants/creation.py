"""Mutations of what an attempt and a request leave behind: idempotency keys, sealed images, the backoff."""

from tests.mutants.mutation import Mutation

CREATE = "zekron_api/endpoints/create_generation.py"
ATTEMPT = "workers/gpu_worker/attempt.py"
KEYS = "workers/lifecycle/idempotency.py"
SAME_KEY = "tests/zekron_api/endpoints/test_idempotency.py"
KEY_ROWS = "tests/workers/lifecycle/test_idempotency.py"
ATTEMPTS = "tests/workers/gpu_worker/test_attempt.py"

MUTATIONS = (
    Mutation(
        name="idempotency: the digest has the model",
        path=CREATE,
        text='fields["prompt"], model.name, f"',
        without='fields["prompt"], f"',
        tests=(f"{SAME_KEY}::test_another_model_under_the_same_key_is_refused",),
    ),
    Mutation(
        name="idempotency: the digest has the size",
        path=CREATE,
        text='f"{width}x{height}", *fields["images"]]',
        without='*fields["images"]]',
        tests=(f"{SAME_KEY}::test_another_request_under_the_same_key_is_refused",),
    ),
    Mutation(
        name="idempotency: the digest has the images",
        path=CREATE,
        text='f"{width}x{height}", *fields["images"]]',
        without='f"{width}x{height}"]',
        tests=(f"{SAME_KEY}::test_another_request_under_the_same_key_is_refused",),
    ),
    Mutation(
        name="idempotency: the digest has the order of the images",
        path=CREATE,
        text='f"{width}x{height}", *fields["images"]]',
        without='f"{width}x{height}", *sorted(fields["images"])]',
        tests=(f"{SAME_KEY}::test_the_same_images_in_another_order_are_another_request",),
    ),
    Mutation(
        name="idempotency: a key is honoured for a whole day",
        path=KEYS,
        text="created_at__gt=now - KEY_LIFE)",
        without="created_at__gt=now - KEY_LIFE + timedelta(hours=1))",
        tests=(f"{KEY_ROWS}::test_a_key_is_honoured_for_a_day_and_no_longer",),
    ),
    Mutation(
        name="a failed attempt: the backoff",
        path=ATTEMPT,
        text="BACKOFF_SECONDS = 2.0\n",
        without="BACKOFF_SECONDS = 0.0\n",
        tests=(f"{ATTEMPTS}::test_a_failed_attempt_is_queued_again_with_a_backoff_that_grows",),
    ),
    Mutation(
        name="a failed attempt: the backoff grows",
        path=ATTEMPT,
        text="BACKOFF_SECONDS * 4 ** (generation.attempt_count - 1)",
        without="BACKOFF_SECONDS",
        tests=(f"{ATTEMPTS}::test_a_failed_attempt_is_queued_again_with_a_backoff_that_grows",),
    ),
    Mutation(
        name="a failed attempt: the row keeps the backoff",
        path="workers/lifecycle/generations.py",
        text="        not_before=now + timedelta(seconds=backoff_seconds),\n",
        without="        not_before=now,\n",
        tests=(f"{ATTEMPTS}::test_a_failed_attempt_is_queued_again_with_a_backoff_that_grows",),
    ),
    Mutation(
        name="sources: the keys of all go, not only of the first",
        path="workers/lifecycle/generations.py",
        text='image_ids=generation.sources.values_list("image_id", flat=True))',
        without='image_ids=generation.sources.order_by("position").values_list("image_id", flat=True)[:1])',
        tests=(
            "tests/workers/lifecycle/test_generations.py::test_source_images_are_unreadable_once_their_generation_ends",
        ),
    ),
    Mutation(
        name="a seal: a picture's names its generation",
        path=ATTEMPT,
        text='f"account {generation.account_id} generation {generation.pk}"',
        without='f"account {generation.account_id}"',
        tests=(f"{ATTEMPTS}::test_a_picture_is_sealed_for_its_generation_and_its_account",),
    ),
    Mutation(
        name="a seal: a picture's names its account",
        path=ATTEMPT,
        text='f"account {generation.account_id} generation {generation.pk}"',
        without='f"generation {generation.pk}"',
        tests=(f"{ATTEMPTS}::test_a_picture_is_sealed_for_its_generation_and_its_account",),
    ),
    Mutation(
        name="a seal: a source's names its account",
        path=CREATE,
        text='f"account {account_id} source"',
        without='"source"',
        tests=(
            "tests/zekron_api/endpoints/test_create_generation.py::test_source_images_are_sealed_for_their_account",
        ),
    ),
)
