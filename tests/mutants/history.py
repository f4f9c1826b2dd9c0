"""Mutations of the history's filters and cursor."""

from tests.mutants.mutation import Mutation

HISTORY = "workers/lifecycle/history.py"
VIEW = "zekron_api/endpoints/list_generations.py"
PAGES = "tests/workers/lifecycle/test_history.py"
PLANS = "tests/workers/lifecycle/test_plans.py::test_a_filtered_page_is_bounded_wherever_it_begins"
REPLIES = "tests/zekron_api/endpoints/test_list_generations.py"
WRONG = f"{REPLIES}::test_a_wrong_parameter_is_refused_by_its_name"

MUTATIONS = (
    Mutation(
        name="history: a cursor is of the account's own",
        path=HISTORY,
        text='mine.values_list("created_at", "number").get(pk=generation_id)',
        without='Generation.objects.values_list("created_at", "number").get(pk=generation_id)',
        tests=(f"{REPLIES}::test_another_accounts_generation_is_no_cursor",),
    ),
    Mutation(
        name="history: a page by numbers is bounded",
        path=HISTORY,
        text="return rows.filter(number__gte=last_number), last_number",
        without="return rows, None",
        tests=(PLANS,),
    ),
    Mutation(
        name="history: a page by times is bounded",
        path=HISTORY,
        text="    if last is None:\n",
        without="    if True:\n",
        tests=(PLANS,),
    ),
    Mutation(
        name="history: rows of one time follow by their numbers",
        path=HISTORY,
        text='rows.filter(_compare("<", before), created_at__lte=before.created_at)',
        without="rows.filter(created_at__lt=before.created_at)",
        tests=(PAGES,),
    ),
    Mutation(
        name="history: until is excluded",
        path=HISTORY,
        text="created_at__lt=filters.until",
        without="created_at__lte=filters.until",
        tests=(f"{REPLIES}::test_since_includes_its_time_and_until_excludes_it",),
    ),
    Mutation(
        name="history: a time has an offset",
        path=VIEW,
        text="if time.tzinfo is None or",
        without="if",
        tests=(WRONG,),
    ),
    Mutation(
        name="history: an offset is not ignored beside a cursor",
        path=VIEW,
        text='if attrs["before"] and "offset" in self.initial_data:',
        without="if False:",
        tests=(WRONG,),
    ),
    Mutation(
        name="history: an offset is not ignored beside a filter",
        path=VIEW,
        text='if sent and attrs["offset"]:',
        without="if False:",
        tests=(WRONG,),
    ),
)
