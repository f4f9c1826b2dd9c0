"""Mutations of the usage: its roll-up, its queries, the export, the ledger's pages and the statements."""

from tests.mutants.mutation import Mutation

ROLL_UP = "workers/usage/roll_up.py"
ROUNDS = "tests/workers/usage/test_roll_up.py"
PLACES = "workers/usage/entry_times.py"
SUMS = "tests/workers/usage/test_sums.py"
PLANS = "tests/workers/usage/test_plans.py"
LEDGER = "tests/zekron_api/endpoints/test_list_ledger.py"
USAGE = "tests/zekron_api/endpoints/test_usage.py"
EXPORT = "tests/zekron_api/endpoints/test_export_usage.py"
STATEMENT = "tests/zekron_api/endpoints/test_monthly_statement.py"
PAGED = "zekron_api/waiting/paged_response.py"
PAGES = "tests/zekron_api/waiting/test_paged_responses.py"

MUTATIONS = (
    Mutation(
        name="usage: an hour waits for older transactions",
        path=ROLL_UP,
        text="SELECT FROM pg_snapshot_xip(pg_current_snapshot()) AS open(xid) WHERE xid < pending_xid::text::xid8",
        without="SELECT FROM pg_snapshot_xip(pg_current_snapshot()) AS open(xid) WHERE false",
        tests=(f"{ROUNDS}::test_an_hour_waits_for_the_transaction_that_may_still_add_to_it",),
    ),
    Mutation(
        name="usage: an hour waits for the newest transaction",
        path=ROLL_UP,
        text="pending_xid = pg_current_xact_id()::text::bigint",
        without="pending_xid = next_xid",
        tests=(f"{ROUNDS}::test_an_hour_waits_for_the_transaction_that_may_still_add_to_it",),
    ),
    Mutation(
        name="usage: an hour waits for no later transaction",
        path=ROLL_UP,
        text="WHERE xid < pending_xid::text::xid8",
        without="WHERE true",
        tests=(f"{ROUNDS}::test_a_transaction_that_began_later_delays_no_hour",),
    ),
    Mutation(
        name="usage: an hour is counted once",
        path=ROLL_UP,
        text="WHERE closed_until = %(hour)s AND closed_until < pending_until",
        without="WHERE closed_until < pending_until",
        tests=(f"{ROUNDS}::test_rounds_at_once_count_each_hour_once",),
    ),
    Mutation(
        name="usage: an hour is closed after the grace",
        path=ROLL_UP,
        text="date_trunc('hour', {NOW} - %(grace)s, 'UTC') AS until",
        without="date_trunc('hour', {NOW}, 'UTC') AS until",
        tests=(f"{ROUNDS}::test_an_hour_is_closed_only_after_its_end_and_the_grace",),
    ),
    Mutation(
        name="usage: an id of another server is replaced",
        path=ROLL_UP,
        text=" OR pending_xid > next_xid)",
        without=")",
        tests=(f"{ROUNDS}::test_an_id_of_another_server_is_replaced",),
    ),
    Mutation(
        name="usage: the ledger's time decides the hour",
        path="workers/usage/ended.py",
        text="date_trunc('hour', e.created_at, 'UTC') AS hour",
        without="date_trunc('hour', g.ended_at, 'UTC') AS hour",
        tests=(f"{ROUNDS}::test_the_ledgers_entry_decides_the_hour",),
    ),
    Mutation(
        name="usage: the audit compares hours",
        path="workers/audit/rows.py",
        text="WHERE (moved.made, moved.cost, moved.unpaid) IS DISTINCT FROM (rolled.made, rolled.cost, rolled.unpaid)",
        without="WHERE false",
        tests=(f"{ROUNDS}::test_the_audit_names_an_hour_that_differs_from_the_ledger",),
    ),
    Mutation(
        name="usage: a row of an hour is there once",
        path="workers/migrations/0020_usage.py",
        text="nulls_distinct=False",
        without="nulls_distinct=True",
        tests=(f"{ROUNDS}::test_the_database_refuses_an_hour_twice",),
    ),
    Mutation(
        name="usage: entries that waited are found from the left",
        path=PLACES,
        text="_shift(start, -DISORDER)",
        without="start",
        tests=(LEDGER, SUMS),
    ),
    Mutation(
        name="usage: entries that waited are found from the right",
        path=PLACES,
        text="_shift(end, DISORDER)",
        without="end",
        tests=(LEDGER, SUMS),
    ),
    Mutation(
        name="usage: a balance counts times before it alone",
        path=PLACES,
        text="    AND created_at < %(at)s AND kind IN",
        without="    AND kind IN",
        tests=(SUMS, STATEMENT),
    ),
    Mutation(
        name="usage: what is rolled up is not counted again",
        path="workers/usage/queries.py",
        text="e.created_at >= greatest(%(start)s, (SELECT until FROM closed))",
        without="e.created_at >= %(start)s",
        tests=(USAGE,),
    ),
    Mutation(
        name="usage: a query by metadata is bounded",
        path="workers/usage/queries.py",
        text="    if last - first > MAX_ENTRIES_READ:",
        without="    if False:",
        tests=(f"{USAGE}::test_metadata_of_too_many_entries_is_refused_without_reading_them",),
    ),
    Mutation(
        name="usage: a reply has a limit of rows",
        path="workers/usage/queries.py",
        text="    if len(rows) > MAX_ROWS:",
        without="    if False:",
        tests=(f"{USAGE}::test_a_reply_has_a_limit_of_rows",),
    ),
    Mutation(
        name="usage: rolled up hours are of the account",
        path="workers/usage/queries.py",
        text="FROM workers_usagehour WHERE account_id = %(account_id)s AND hour >=",
        without="FROM workers_usagehour WHERE hour >=",
        tests=(f"{USAGE}::test_another_accounts_usage_is_not_mine",),
    ),
    Mutation(
        name="usage: hours that are not rolled up are of the account",
        path="workers/usage/queries.py",
        text="e.account_id = %(account_id)s AND e.sequence >= %(first)s",
        without="e.sequence >= %(first)s",
        tests=(f"{USAGE}::test_of_two_accounts_at_one_time_each_sees_its_own",),
    ),
    Mutation(
        name="usage: an export is of the account",
        path="workers/usage/export.py",
        text="WHERE e.account_id = %(account_id)s AND e.sequence > %(after)s",
        without="WHERE e.sequence > %(after)s",
        tests=(f"{EXPORT}::test_of_two_accounts_at_one_time_each_exports_its_own",),
    ),
    Mutation(
        name="usage: a text is no formula",
        path="billing/spreadsheet.py",
        text="text.startswith(_FORMULA_STARTS)",
        without="False",
        tests=(f"{EXPORT}::test_a_text_that_begins_like_a_formula_is_harmless_in_csv",),
    ),
    Mutation(
        name="usage: a page of the ledger is bounded",
        path="workers/usage/entries.py",
        text="        rows = rows.filter(sequence__gte=look_from)\n",
        without="        pass\n",
        tests=(f"{LEDGER}::test_a_page_of_a_kind_looks_at_a_bounded_number_of_entries",),
    ),
    Mutation(
        name="usage: a statement is of a closed month",
        path="workers/usage/monthly_statement.py",
        text="closed_until is None or closed_until < end",
        without="closed_until is None",
        tests=(f"{STATEMENT}::test_a_month_that_is_not_closed_is_refused",),
    ),
    Mutation(
        name="usage: a statement adds up",
        path="workers/usage/monthly_statement.py",
        text="    if opening + moved != closing:",
        without="    if False:",
        tests=(f"{STATEMENT}::test_a_statement_that_does_not_add_up_is_not_sent",),
    ),
    Mutation(
        name="pages: a page is in memory while it has a slot",
        path=PAGED,
        text="            async with slot():\n",
        without="            if True:\n",
        tests=(f"{PAGES}::test_slow_readers_hold_no_thread_and_no_transaction",),
    ),
    Mutation(
        name="pages: nothing is read for a client that left",
        path=PAGED,
        text="while not sending.is_disconnected(send):",
        without="while True:",
        tests=(f"{PAGES}::test_no_page_is_read_for_a_client_that_has_left",),
    ),
    Mutation(
        name="pages: a response that breaks is not complete",
        path=PAGED,
        text="        await sending.cut_off(send)\n    except TimeoutError:",
        without='        await _send(send, {"type": "http.response.body", "body": b""})\n    except TimeoutError:',
        tests=(f"{PAGES}::test_an_error_after_the_first_page_cuts_the_connection_off",),
    ),
    Mutation(
        name="pages: a server that stops waits for one page",
        path=PAGED,
        text="            if is_shutting_down(scope):",
        without="            if False:",
        tests=(f"{PAGES}::test_a_server_that_stops_cuts_the_connection_off_after_a_page",),
    ),
)
