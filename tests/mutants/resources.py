"""Mutations of quotes, the list of models, the queue's positions, and generations that are watched."""

from tests.mutants.mutation import Mutation

QUOTE = "zekron_api/endpoints/quote.py"
QUOTES = "tests/zekron_api/endpoints/test_quote.py"
POSITION = "workers/lifecycle/queue_position.py"
POSITIONS = "tests/workers/lifecycle/test_queue_position.py"
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
        text="            raise exceptions.NotFound\n",
        without="            return Response({})\n",
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
)
