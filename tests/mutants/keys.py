"""Mutations of what keys grant and spend."""

from tests.mutants.mutation import Mutation

SPENDING = "billing/key_spending.py"
DELEGATION = "billing/key_delegation.py"
CHANGES = "billing/key_changes.py"
GRANTS = "billing/grants.py"
KEYS = "billing/keys.py"
VIEWS = "zekron_api/endpoints/views.py"
SPENT = "tests/billing/test_key_spending.py"
OWN_KEYS = "tests/zekron_api/endpoints/test_api_keys.py"
MAY_GRANT = "tests/billing/test_grants.py"

MUTATIONS = (
    Mutation(
        name="a key: the limit of spending",
        path=SPENDING,
        text="\nAND coalesce(%(count)s * %(quote_micros)s + {_COUNTED_MICROS} <= key.spend_limit_micros, true)",
        without="",
        tests=(f"{SPENT}::test_sixty_four_threads_never_spend_more_than_the_key_may",),
    ),
    Mutation(
        name="a key: the limit of open generations",
        path=SPENDING,
        text="coalesce(%(count)s + key.open_hold_count <= key.open_limit, true)\nAND ",
        without="",
        tests=(f"{SPENT}::test_sixty_four_threads_never_open_more_than_the_key_may",),
    ),
    Mutation(
        name="a key: the check of the database",
        path="billing/migrations/0012_key_grants.py",
        text='("spend_ceiling_micros__isnull", True),',
        without='("spend_ceiling_micros__isnull", True), ("id__gt", 0),',
        tests=(f"{SPENT}::test_the_database_refuses_a_hold_that_forgot_the_limit",),
    ),
    Mutation(
        name="a key: the ceiling of the newest hold",
        path=SPENDING,
        text=", spend_ceiling_micros = key.spend_limit_micros",
        without="",
        tests=(f"{SPENT}::test_the_database_refuses_a_hold_that_forgot_the_limit",),
    ),
    Mutation(
        name="a key: what was held in an earlier period",
        path=SPENDING,
        text="key.held_micros - CASE WHEN r.created_at >= key.counted_since THEN quote_micros ELSE 0 END",
        without="key.held_micros - quote_micros",
        tests=(f"{SPENT}::test_a_new_period_begins_at_zero_and_an_old_hold_ends_in_its_own",),
    ),
    Mutation(
        name="a key: a hold that waited over midnight",
        path="billing/holds.py",
        text="greatest(statement_timestamp(), key.counted_since)",
        without="statement_timestamp()",
        tests=(f"{SPENT}::test_a_hold_that_waited_over_midnight_counts_in_the_period_that_has_begun",),
    ),
    Mutation(
        name="a key: the start of a later period stays",
        path=SPENDING,
        text="counted_since = greatest(key.counted_since, {_PERIOD_START})",
        without="counted_since = {_PERIOD_START}",
        tests=(f"{SPENT}::test_a_hold_that_waited_over_midnight_counts_in_the_period_that_has_begun",),
    ),
    Mutation(
        name="a key: another period counts anew",
        path=CHANGES,
        text="if wanted.spend_period != key.spend_period:",
        without="if wanted is None:",
        tests=(f"{SPENT}::test_another_period_counts_from_its_change_on",),
    ),
    Mutation(
        name="a key: a lower limit takes the ceiling away",
        path=CHANGES,
        text='"spend_ceiling_micros": None}',
        without='"spend_ceiling_micros": wanted.spend_limit_micros}',
        tests=(f"{SPENT}::test_a_lower_limit_stops_a_key_that_has_spent_more",),
    ),
    Mutation(
        name="a key: the audit of its open holds",
        path="billing/audit.py",
        text="    (open_hold_count <> opened,",
        without="    (open_hold_count < opened,",
        tests=(f"{SPENT}::test_the_audit_finds_counters_that_do_not_follow_from_the_holds",),
    ),
    Mutation(
        name="a key: no key of another account",
        path=DELEGATION,
        text="ApiKey.objects.get(pk=key_id, account_id=account_id)",
        without="ApiKey.objects.get(pk=key_id)",
        tests=(f"{OWN_KEYS}::test_a_key_of_another_account_is_not_there",),
    ),
    Mutation(
        name="a key: reads no key of another account",
        path="zekron_api/endpoints/api_keys.py",
        text="ApiKey.objects.get(pk=read_id(key_id), account_id=self.account.pk)",
        without="ApiKey.objects.get(pk=read_id(key_id))",
        tests=(f"{OWN_KEYS}::test_a_key_of_another_account_is_not_there",),
    ),
    Mutation(
        name="a key: changes none that grants more",
        path=DELEGATION,
        text="    _require(held, keys.grants_of(key))\n",
        without="",
        tests=(f"{OWN_KEYS}::test_a_key_changes_no_key_that_grants_more",),
    ),
    Mutation(
        name="a key: issues none that grants more",
        path=DELEGATION,
        text='"spend_limit_micros": None, **changes})\n        _require(held, wanted)\n',
        without='"spend_limit_micros": None, **changes})\n',
        tests=(f"{OWN_KEYS}::test_no_key_grants_more_than_the_key_that_asks",),
    ),
    Mutation(
        name="a key: a change grants no more",
        path=DELEGATION,
        text="        _require(held, replace(before, **changes))\n",
        without="",
        tests=(f"{OWN_KEYS}::test_a_key_changes_no_key_that_grants_more",),
    ),
    Mutation(
        name="a key: the holder is still live",
        path=DELEGATION,
        text="        keys.require_live(key_id=holder.key_id, account_id=holder.account_id)\n",
        without="",
        tests=(f"{OWN_KEYS}::test_a_key_that_is_revoked_meanwhile_issues_nothing",),
    ),
    Mutation(
        name="a key: at most a hundred",
        path=DELEGATION,
        text=".count() >= MAX_KEYS:",
        without=".count() < 0:",
        tests=(f"{OWN_KEYS}::test_an_account_has_at_most_a_hundred_keys",),
    ),
    Mutation(
        name="a key: its scopes",
        path=VIEWS,
        text="if scope is not None and scope not in grants.scopes:",
        without="if scope is None and scope not in grants.scopes:",
        tests=(f"{OWN_KEYS}::test_each_scope_opens_its_own_endpoints_alone",),
    ),
    Mutation(
        name="a key: its networks",
        path=VIEWS,
        text="if not grants.admits_address(",
        without="if grants is None and not grants.admits_address(",
        tests=(f"{OWN_KEYS}::test_a_key_is_used_from_its_networks_alone",),
    ),
    Mutation(
        name="a key: an IPv4 address in IPv6 form",
        path=GRANTS,
        text="    return mapped or address\n",
        without="    return address\n",
        tests=(f"{MAY_GRANT}::test_only_addresses_of_the_networks_are_admitted",),
    ),
    Mutation(
        name="a key: its models",
        path="zekron_api/endpoints/create_generation.py",
        text='        refuse_model(fields["model"], grants=caller.grants)\n',
        without="        pass\n",
        tests=(f"{OWN_KEYS}::test_a_key_asks_for_its_models_alone",),
    ),
    Mutation(
        name="a key: its models in a quote",
        path="zekron_api/endpoints/quote.py",
        text='        refuse_model(fields["model"], grants=self.caller.grants)\n',
        without="",
        tests=(f"{OWN_KEYS}::test_a_key_asks_for_its_models_alone",),
    ),
    Mutation(
        name="a key: its rate",
        path="zekron_api/http/rate_limit.py",
        text='    if not admitted:\n        raise RateExceeded(rate, counted="API key")\n',
        without="",
        tests=(f"{OWN_KEYS}::test_a_key_with_a_rate_of_its_own_is_held_to_it_and_counts_in_the_account_s",),
    ),
    Mutation(
        name="a key: no limit of spending beside the scope keys",
        path=GRANTS,
        text="    if Scope.KEYS in scopes:\n",
        without="    if not scopes:\n",
        tests=(f"{MAY_GRANT}::test_a_key_that_issues_keys_has_no_limit_of_spending",),
    ),
    Mutation(
        name="a key: the former text ends",
        path=KEYS,
        text=" AND key.former_until > now)",
        without=")",
        tests=(f"{OWN_KEYS}::test_a_rotation_keeps_the_key_and_both_texts_open_it_for_a_while",),
    ),
    Mutation(
        name="a key: without overlap the former text ends at once",
        path=CHANGES,
        text='"former_until": Now() + overlap}',
        without='"former_until": Now() + MAX_OVERLAP}',
        tests=(f"{OWN_KEYS}::test_a_rotation_without_overlap_and_a_second_one_end_the_former_text",),
    ),
    Mutation(
        name="a key: one that manages keys no more issues none",
        path=DELEGATION,
        text="        if Scope.KEYS not in held.scopes:\n",
        without="        if not held.scopes:\n",
        tests=(f"{OWN_KEYS}::test_a_key_that_manages_no_keys_any_more_issues_none",),
    ),
    Mutation(
        name="a key: without the scope read it sees what it asked for",
        path="zekron_api/endpoints/cancel_generation.py",
        text="if Scope.READ not in self.caller.grants.scopes and",
        without="if not self.caller.grants.scopes and",
        tests=(f"{OWN_KEYS}::test_a_key_that_reads_nothing_cancels_only_what_it_asked_for",),
    ),
    Mutation(
        name="a key: a text that was never used does not end the one in use",
        path=CHANGES,
        text="if key.is_text_used or key.former_until is None:",
        without="if key is not None:",
        tests=(
            f"{OWN_KEYS}::test_a_rotation_whose_reply_was_lost_is_repeated_without_an_end_of_the_key_in_use",
        ),
    ),
    Mutation(
        name="a key: an address with a zone",
        path=GRANTS,
        text='    if "%" in text:\n        raise ValueError("an address with a zone")\n',
        without="",
        tests=(f"{MAY_GRANT}::test_what_no_key_can_have_is_refused_by_name",),
    ),
)
