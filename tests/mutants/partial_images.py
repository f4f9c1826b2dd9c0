"""Mutations of partial images: their seal, their delivery, and the limit on those that are seen and cancelled."""

from tests.mutants.mutation import Mutation

PARTIALS = "workers/lifecycle/partials.py"
DELIVERY = "tests/workers/lifecycle/test_partials.py"
SEALING = "tests/workers/messaging/test_partial_images.py"
STREAMS = "tests/zekron_api/waiting/test_partial_image_streams.py"
CONTRACT = "tests/workers/pipelines/test_pipeline_contract.py"
CLEAN = "tests/workers/pipelines/diffusers/test_clean_latents.py"
ATTEMPTS = "tests/workers/gpu_worker/test_previews.py"

MUTATIONS = (
    Mutation(
        name="partial images: none for what is to be cancelled",
        path=PARTIALS,
        text="status=Status.RUNNING, cancel_requested_at__isnull=True",
        without="status=Status.RUNNING",
        tests=(f"{DELIVERY}::test_a_generation_that_is_to_be_cancelled_gets_none_any_more",),
    ),
    Mutation(
        name="partial images: none but for a running generation",
        path=PARTIALS,
        text="status=Status.RUNNING, cancel_requested_at__isnull=True",
        without="cancel_requested_at__isnull=True",
        tests=(f"{DELIVERY}::test_no_other_generation_gets_any",),
    ),
    Mutation(
        name="partial images: none for a foreign account",
        path=PARTIALS,
        text="pk=generation_id, account_id=account_id, status",
        without="pk=generation_id, status",
        tests=(f"{DELIVERY}::test_a_foreign_account_gets_none",),
    ),
    Mutation(
        name="partial images: the row tells that one was delivered",
        path=PARTIALS,
        text="    running.filter(are_partials_delivered=False).update(are_partials_delivered=True)\n",
        without="",
        tests=(f"{DELIVERY}::test_a_running_generation_gets_its_partial_images_and_its_row_tells_it",),
    ),
    Mutation(
        name="partial images: only those that were delivered count",
        path=PARTIALS,
        text="        are_partials_delivered=True,\n        ended_at__gt",
        without="        ended_at__gt",
        tests=(f"{DELIVERY}::test_what_was_never_delivered_or_ended_otherwise_does_not_count",),
    ),
    Mutation(
        name="partial images: what an operator cancelled does not count",
        path=PARTIALS,
        text=".exclude(error_detail__startswith=operator_cancellation.DETAIL_START)",
        without="",
        tests=(f"{DELIVERY}::test_what_an_operator_cancelled_does_not_count",),
    ),
    Mutation(
        name="partial images: the suspension lasts a day",
        path=PARTIALS,
        text="ended_at__gt=now - 2 * WINDOW",
        without="ended_at__gt=now - WINDOW",
        tests=(f"{DELIVERY}::test_more_than_twenty_in_a_day_suspend_partial_images_for_a_day",),
    ),
    Mutation(
        name="partial images: the suspension ends",
        path=PARTIALS,
        text="if age < WINDOW and first_age",
        without="if first_age",
        tests=(f"{DELIVERY}::test_a_burst_suspends_for_a_day_after_its_last_one",),
    ),
    Mutation(
        name="partial images: only a day counts",
        path=PARTIALS,
        text=" and first_age - age < WINDOW:",
        without=":",
        tests=(f"{DELIVERY}::test_twenty_one_in_more_than_a_day_suspend_nothing",),
    ),
    Mutation(
        name="partial images: a suspended account is refused",
        path="zekron_api/endpoints/create_generation.py",
        text="        partials.refuse_if_suspended(account_id=account_id)\n",
        without="        pass\n",
        tests=(f"{STREAMS}::test_a_suspended_account_is_refused_partial_images_alone",),
    ),
    Mutation(
        name="partial images: the seal binds the account and the generation",
        path="workers/messaging/partial_images.py",
        text='return f"account {account_id} generation {generation_id} partial image {facts}"',
        without='return f"partial image {facts}"',
        tests=(f"{SEALING}::test_nobody_else_opens_it",),
    ),
    Mutation(
        name="partial images: Redis forgets them",
        path="workers/messaging/partial_images.py",
        text="            pipe.expire(key, KEEP_SECONDS)\n",
        without="",
        tests=(f"{SEALING}::test_redis_has_no_byte_of_the_picture_and_forgets_it",),
    ),
    Mutation(
        name="partial images: the row is asked before one is sent",
        path="zekron_api/endpoints/partial_image_event.py",
        text="    return None if generation is None else (generation, image)\n",
        without="    return (generation or Generation.objects.get(pk=generation_id), image)\n",
        tests=(f"{STREAMS}::test_a_generation_that_is_to_be_cancelled_sends_none_any_more",),
    ),
    Mutation(
        name="partial images: each is sent once",
        path="zekron_api/waiting/event_stream.py",
        text="        self._new_partials -= self._partials_told\n",
        without="",
        tests=(f"{STREAMS}::test_a_partial_image_that_is_announced_while_it_is_read_is_sent_once",),
    ),
    Mutation(
        name="partial images: no more than were asked for",
        path="zekron_api/waiting/event_stream.py",
        text="if 0 <= index < self._partial_count:",
        without="if True:",
        tests=(f"{STREAMS}::test_an_index_beyond_the_asked_ones_is_ignored",),
    ),
    Mutation(
        name="partial images: none is published after the attempt",
        path="workers/gpu_worker/previews.py",
        text="                self._followed.discard(generation.pk)\n",
        without="                pass\n",
        tests=(f"{ATTEMPTS}::test_nothing_is_published_after_the_attempt",),
    ),
    Mutation(
        name="partial images: a full queue drops",
        path="workers/gpu_worker/previews.py",
        text="if self._waiting.qsize() < MAX_WAITING:",
        without="if True:",
        tests=(f"{ATTEMPTS}::test_the_thread_of_the_device_waits_for_nothing_and_a_full_queue_drops",),
    ),
    Mutation(
        name="partial images: a failing callback costs no picture",
        path="workers/engine/preview_steps.py",
        text="    except Exception:\n",
        without="    except ZeroDivisionError:\n",
        tests=("tests/workers/engine/test_preview_steps.py::test_a_callback_that_fails_costs_no_picture",),
    ),
    Mutation(
        name="partial images: a model that makes none refuses them",
        path="zekron_api/endpoints/parameter_fields.py",
        text='if fields["partial_images"] and not model.takes_partial_images:',
        without="if False:",
        tests=(f"{STREAMS}::test_a_model_that_makes_none_refuses_them_by_its_name_and_serves_all_else",),
    ),
    Mutation(
        name="partial images: a picture of a single step has none",
        path="workers/catalogue.py",
        text="return self.steps > 1 and self.adapter in LATENT_ADAPTERS",
        without="return self.adapter in LATENT_ADAPTERS",
        tests=(
            "tests/workers/test_catalogue.py::"
            "test_partial_images_are_for_adapters_with_latents_and_more_than_a_step",
        ),
    ),
    Mutation(
        name="partial images: they show the clean latents, without noise",
        path="workers/pipelines/diffusers/clean_latents.py",
        text="    return noisy - noise * output\n",
        without="    return noisy\n",
        tests=(f"{CLEAN}::test_a_model_that_knows_the_picture_heads_for_it_at_every_step",),
    ),
    Mutation(
        name="partial images: the watch of a scheduler ends",
        path="workers/pipelines/diffusers/clean_latents.py",
        text="        del scheduler.step\n",
        without="        pass\n",
        tests=(f"{CLEAN}::test_watching_ends_with_the_block_even_after_an_error",),
    ),
    Mutation(
        name="partial images: only a due step is looked at",
        path="workers/pipelines/diffusers/clean_latents.py",
        text=" if is_due(done) else None\n",
        without="\n",
        tests=(f"{CLEAN}::test_watching_changes_no_step_and_keeps_what_is_due",),
    ),
    Mutation(
        name="partial images: the latents of Stable Diffusion XL have its scale",
        path="workers/pipelines/diffusers/latent_tokens.py",
        text=" * vae.config.scaling_factor\n",
        without="\n",
        tests=(f"{CONTRACT}::test_previews_come_ever_closer_to_their_own_picture",),
    ),
)
