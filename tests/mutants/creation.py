"""Mutations of what an attempt and a request leave behind: idempotency keys, sealed images, the backoff."""

from tests.mutants.mutation import Mutation

CREATE = "zekron_api/endpoints/create_generation.py"
ATTEMPT = "workers/gpu_worker/attempt.py"
FINISHED = "workers/gpu_worker/finished_image.py"
KEYS = "workers/lifecycle/idempotency.py"
SAME_KEY = "tests/zekron_api/endpoints/test_idempotency.py"
KEY_ROWS = "tests/workers/lifecycle/test_idempotency.py"
ATTEMPTS = "tests/workers/gpu_worker/test_attempt.py"
CREATES = "tests/zekron_api/endpoints/test_create_generation.py"
TOKENS = "workers/lifecycle/image_tokens.py"
TOKEN = "tests/workers/lifecycle/test_image_tokens.py"

MUTATIONS = (
    Mutation(
        name="idempotency: the digest has the model",
        path=CREATE,
        text='fields["prompt"], model.name, size',
        without='fields["prompt"], size',
        tests=(f"{SAME_KEY}::test_another_model_under_the_same_key_is_refused",),
    ),
    Mutation(
        name="idempotency: the digest has the size",
        path=CREATE,
        text="size, *images_of(fields), *_list",
        without="*images_of(fields), *_list",
        tests=(f"{SAME_KEY}::test_another_request_under_the_same_key_is_refused",),
    ),
    Mutation(
        name="idempotency: the digest has the images",
        path=CREATE,
        text="size, *images_of(fields), *_list",
        without="size, *_list",
        tests=(f"{SAME_KEY}::test_another_request_under_the_same_key_is_refused",),
    ),
    Mutation(
        name="idempotency: the digest has the order of the images",
        path=CREATE,
        text="size, *images_of(fields), *_list",
        without="size, *sorted(images_of(fields)), *_list",
        tests=(f"{SAME_KEY}::test_the_same_images_in_another_order_are_another_request",),
    ),
    Mutation(
        name="idempotency: a key is honoured for a whole day",
        path=KEYS,
        text=".filter(~_is_over(now), ",
        without=".filter(~_is_over(now + timedelta(hours=1)), ",
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
        name="sources: the keys of all go with the completion, not only of the first",
        path="workers/lifecycle/attempt_statements.py",
        text="WHERE source.id = s.image_id AND",
        without="WHERE source.id = s.image_id AND s.position = 1 AND",
        tests=(
            "tests/workers/lifecycle/test_generations.py::test_source_images_are_unreadable_once_their_generation_ends",
        ),
    ),
    Mutation(
        name="sources: each picture has its own",
        path="workers/lifecycle/submission.py",
        text="JOIN hold ON hold.position = s.generation",
        without="JOIN hold ON hold.position = 1",
        tests=(
            "tests/workers/lifecycle/test_submission.py::test_each_picture_has_its_own_sources_in_their_order",
        ),
    ),
    Mutation(
        name="a seal: a picture's names its generation",
        path=FINISHED,
        text='f"account {generation.account_id} generation {generation.pk}"',
        without='f"account {generation.account_id}"',
        tests=(f"{ATTEMPTS}::test_a_picture_is_sealed_for_its_generation_and_its_account",),
    ),
    Mutation(
        name="a seal: a picture's names its account",
        path=FINISHED,
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
    Mutation(
        name="idempotency: the key of a failed generation is free",
        path=KEYS,
        text="_FREE: Final = (Status.FAILED, Status.CANCELLED)",
        without="_FREE: Final = (Status.CANCELLED,)",
        tests=(f"{KEY_ROWS}::test_the_key_of_a_generation_that_ended_without_an_image_is_free",),
    ),
    Mutation(
        name="idempotency: the key of a cancelled generation is free",
        path=KEYS,
        text="_FREE: Final = (Status.FAILED, Status.CANCELLED)",
        without="_FREE: Final = (Status.FAILED,)",
        tests=(f"{KEY_ROWS}::test_the_key_of_a_generation_that_ended_without_an_image_is_free",),
    ),
    Mutation(
        name="idempotency: the limits refuse no twin of what was accepted",
        path="workers/lifecycle/generations.py",
        text="    if (named := submission.idempotency) and (",
        without="    if False and (named := submission.idempotency) and (",
        tests=(
            f"{KEY_ROWS}::"
            "test_the_twin_of_an_accepted_submission_is_no_refusal_where_no_other_would_be_accepted",
        ),
    ),
    Mutation(
        name="moderation: a request is asked about before it is accepted",
        path=CREATE,
        text="    moderation.refuse_request(",
        without="    str(",
        tests=(
            "tests/zekron_api/test_moderation.py::test_a_refused_request_is_typed_free_and_never_accepted",
        ),
    ),
    Mutation(
        name="moderation: a picture is asked about before it is stored",
        path="workers/gpu_worker/attempt.py",
        text="    moderation.refuse_picture(picture=picture)\n",
        without="",
        tests=("tests/zekron_api/test_moderation.py::test_a_refused_picture_is_free_at_the_first_attempt",),
    ),
    Mutation(
        name="moderation: nothing passes a hook that fails",
        path="workers/moderation.py",
        text="        raise ModerationFailed from error\n",
        without="        return\n",
        tests=("tests/zekron_api/test_moderation.py::test_a_picture_is_not_delivered_while_its_hook_fails",),
    ),
    Mutation(
        name="sources: a twin's are discarded",
        path=CREATE,
        text="        _discard_all(sealed)\n        return Created(queries.list_group(twin",
        without="        return Created(queries.list_group(twin",
        tests=(f"{CREATES}::test_sources_of_a_request_that_is_refused_under_the_lock_are_discarded",),
    ),
    Mutation(
        name="sources: a refused request's are discarded",
        path=CREATE,
        text="        generations.TooManyOpen,\n",
        without="",
        tests=(f"{CREATES}::test_sources_of_a_request_that_is_refused_under_the_lock_are_discarded",),
    ),
    Mutation(
        name="sources: they are kept while it is not known whether the row was committed",
        path=CREATE,
        text="        keys.InvalidKey,\n    ):\n",
        without="        Exception,\n    ):\n",
        tests=(f"{CREATES}::test_sources_of_a_request_whose_outcome_is_unknown_are_kept",),
    ),
    Mutation(
        name="sources: the first is discarded when the second cannot be stored",
        path=CREATE,
        text="    except Exception:\n        _discard_all(sealed)\n        raise\n    return sealed\n",
        without="    except Exception:\n        raise\n    return sealed\n",
        tests=(f"{CREATES}::test_a_source_that_cannot_be_stored_takes_the_others_with_it",),
    ),
    Mutation(
        name="an image's token needs the secret key",
        path=TOKENS,
        text="return hmac.new(key, ",
        without='return hmac.new(b"", ',
        tests=(f"{TOKEN}::test_a_token_needs_the_secret_key",),
    ),
    Mutation(
        name="an image's token is not in its row",
        path=TOKENS,
        text="    return hashlib.sha256(token.encode()).hexdigest()\n",
        without="    return token\n",
        tests=(f"{TOKEN}::test_the_row_has_the_digest_alone_and_the_token_finds_its_generation",),
    ),
    Mutation(
        name="sources: a purge takes none before the last attempt",
        path=CREATE,
        text="_SOURCE_LIFE = timedelta(hours=1)",
        without="_SOURCE_LIFE = timedelta(minutes=10)",
        tests=(f"{CREATES}::test_source_images_are_sealed_for_their_account",),
    ),
    Mutation(
        name="a generation that is claimed while it is cancelled is kept",
        path="zekron_api/endpoints/generation_response.py",
        text="    with suppress(generations.NotQueued):\n",
        without="    with suppress(ZeroDivisionError):\n",
        tests=(f"{CREATES}::test_a_generation_that_a_worker_claims_while_it_is_cancelled_is_kept_and_named",),
    ),
)
