"""Mutations of quotes, the list of models, the queue's positions, and generations that are watched."""

from tests.mutants.mutation import Mutation

QUOTE = "zekron_api/endpoints/quote.py"
QUOTES = "tests/zekron_api/endpoints/test_quote.py"
POSITION = "workers/lifecycle/queue_position.py"
POSITIONS = "tests/workers/lifecycle/test_queue_position.py"
WATCHED = "tests/zekron_api/endpoints/test_watch_generation.py"
STREAMS = "tests/zekron_api/waiting/test_event_streams.py"
CLIENTS = "tests/zekron_api/waiting/test_event_stream_clients.py"
PRICES = "tests/billing/test_money.py"

MUTATIONS = (
    Mutation(
        name="quote: what other generations hold is not available",
        path=QUOTE,
        text="        return self.cost_micros <= self.account.available_micros\n",
        without="        return self.cost_micros <= self.account.balance_micros\n",
        tests=(f"{QUOTES}::test_what_other_generations_hold_is_not_available",),
    ),
    Mutation(
        name="quote: the images cost",
        path=QUOTE,
        text='"source_count": len(fields["images"])',
        without='"source_count": 0',
        tests=(f"{QUOTES}::test_a_quote_is_what_is_held_and_what_is_settled",),
    ),
    Mutation(
        name="quote: a body is checked as for a generation",
        path="zekron_api/endpoints/serializers.py",
        text="class QuoteSerializer(GenerateSerializer):\n",
        without="class QuoteSerializer(GenerateSerializer):\n    validate = lambda self, attrs: attrs\n",
        tests=(QUOTES,),
    ),
    Mutation(
        name="price: the lines add up, also where the price is bounded",
        path="billing/prices.py",
        text="            lines.append(PriceLine(bound, kept_micros - rounded_micros))\n",
        without="            pass\n",
        tests=(PRICES,),
    ),
    Mutation(
        name="price: the rounding is in a line",
        path="billing/prices.py",
        text='PriceLine("size", rounded_micros - fixed_micros)',
        without=(
            'PriceLine("size", self.megapixel_micros * width * height // PIXELS_PER_MEGAPIXEL'
            " // MIN_STEP_MICROS * MIN_STEP_MICROS)"
        ),
        tests=(PRICES,),
    ),
    Mutation(
        name="models: an unknown name is not found",
        path="zekron_api/endpoints/list_models.py",
        text="    if model_id not in models:\n",
        without="    if not models:\n",
        tests=("tests/zekron_api/endpoints/test_list_models.py",),
    ),
    Mutation(
        name="position: generations with an equal turn come in the order of their ids",
        path=POSITION,
        text="bisect_left(queue.turns, (turn_at, generation_id))",
        without="bisect_left(queue.turns, (turn_at, 0))",
        tests=(POSITIONS,),
    ),
    Mutation(
        name="position: another model's queue does not count",
        path=POSITION,
        text="filter(status=Status.QUEUED, model=model)",
        without="filter(status=Status.QUEUED)",
        tests=(POSITIONS,),
    ),
    Mutation(
        name="position: the queue is read once a second",
        path=POSITION,
        text="clock() - seen_at < FRESH_SECONDS",
        without="False",
        tests=(POSITIONS,),
    ),
    Mutation(
        name="position: the queue is read no further than its bound",
        path=POSITION,
        text='queued.values_list("turn_at", "pk")[: MAX_POSITION + 1]',
        without='queued.values_list("turn_at", "pk")',
        tests=("tests/workers/lifecycle/test_plans.py",),
    ),
    Mutation(
        name="eta: running generations are ahead",
        path=POSITION,
        text="seconds_for(position + queue.running_count)",
        without="seconds_for(position)",
        tests=(POSITIONS,),
    ),
    Mutation(
        name="watch: a generation is its account's alone",
        path="workers/lifecycle/watching.py",
        text="rows.get(pk=int(generation_id), account_id=account_id)",
        without="rows.get(pk=int(generation_id))",
        tests=(WATCHED,),
    ),
    Mutation(
        name="watch: polls count apart",
        path="zekron_api/http/rate_limit.py",
        text='RateLimitItemPerMinute(settings.POLLS_PER_MINUTE), f"polls:{account.pk}"',
        without="RateLimitItemPerMinute(settings.REQUESTS_PER_MINUTE), str(account.pk)",
        tests=(WATCHED,),
    ),
    Mutation(
        name="watch: a requeued generation has a later version",
        path="workers/lifecycle/watching.py",
        text="(generation.created_at, generation.not_before, generation.started_at, generation.ended_at)",
        without="(generation.created_at, generation.started_at, generation.ended_at)",
        tests=("tests/workers/lifecycle/test_watching.py",),
    ),
    Mutation(
        name="stream: the end is not told twice",
        path="zekron_api/endpoints/generation_events.py",
        text='request.headers.get("Last-Event-ID", "").strip() == str(state.version)',
        without="False",
        tests=(
            f"{STREAMS}::test_a_generation_that_has_ended_is_told_at_once_and_a_reconnect_after_it_is_204",
        ),
    ),
    Mutation(
        name="stream: only the row ends it",
        path="zekron_api/endpoints/generation_object.py",
        text="    if generation.is_open:\n        return None\n",
        without="",
        tests=(f"{STREAMS}::test_an_invented_end_ends_no_stream",),
    ),
    Mutation(
        name="stream: a lost message of the end is made up for",
        path="zekron_api/waiting/event_streams.py",
        text="if stream.is_ended or (ended.done()",
        without="if (ended.done()",
        tests=(f"{STREAMS}::test_a_lost_message_is_made_up_for_by_the_look",),
    ),
    Mutation(
        name="stream: an account has at most ten",
        path="zekron_api/waiting/event_streams.py",
        text="            raise TooManyStreams\n",
        without="            pass\n",
        tests=(f"{STREAMS}::test_an_account_has_at_most_ten_streams_and_a_place_is_free_again_at_once",),
    ),
    Mutation(
        name="stream: its place is free again",
        path="zekron_api/waiting/event_streams.py",
        text="        self._count_by_account[account_id] -= 1\n",
        without="",
        tests=(f"{STREAMS}::test_an_account_has_at_most_ten_streams_and_a_place_is_free_again_at_once",),
    ),
    Mutation(
        name="stream: a client that does not read is cut off",
        path="zekron_api/waiting/event_streams.py",
        text="asyncio.timeout(sending.limit_seconds(byte_count))",
        without="asyncio.timeout(None)",
        tests=(f"{STREAMS}::test_a_client_that_does_not_read_is_cut_off",),
    ),
    Mutation(
        name="stream: it has heartbeats",
        path="zekron_api/waiting/event_streams.py",
        text="                await _send_body(send, HEARTBEAT)\n",
        without="                pass\n",
        tests=(f"{STREAMS}::test_a_silent_stream_has_heartbeats",),
    ),
    Mutation(
        name="stream: a server that stops ends it",
        path="zekron_api/waiting/http_connection.py",
        text="            shutdown.mark(cast(dict[str, Any], self.cycle.scope))\n",
        without="            pass\n",
        tests=(f"{CLIENTS}::test_a_deployment_ends_the_streams_at_once_and_they_go_on_elsewhere",),
    ),
    Mutation(
        name="stream: a step belongs to its attempt",
        path="zekron_api/waiting/event_stream.py",
        text="        if state.status != Status.RUNNING:\n            self._step = None\n",
        without="",
        tests=(f"{STREAMS}::test_a_step_of_the_last_attempt_is_not_told_of_the_next",),
    ),
    Mutation(
        name="progress: an ended generation is published no more",
        path="workers/gpu_worker/progress.py",
        text="                self._latest.pop(generation_id, None)\n",
        without="                pass\n",
        tests=("tests/workers/gpu_worker/test_progress.py",),
    ),
)
