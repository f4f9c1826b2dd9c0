"""Mutations of money and keys."""

from tests.mutants.mutation import Mutation

LEDGER = "billing/ledger.py"
HOLDS = "billing/holds.py"
TABLES = "billing/migrations/0001_initial.py"
TRIGGERS = "billing/migrations/0002_ledger_append_only.py"
MOVES = "tests/billing/test_ledger.py"
REFUSED = "tests/billing/test_constraints.py"
PERMISSIONS = "tests/billing/test_admin_permissions.py"
SECRET_KEYS = "tests/zekron_api/test_secret_keys.py"
KEY_OF_WORK = "tests/zekron_api/endpoints/test_key_of_work.py"

MUTATIONS = (
    Mutation(
        name="a hold is resolved once: the guarded update",
        path=HOLDS,
        text=" AND resolution = '' AND {guard}",
        without=" AND {guard}",
        tests=(f"{MOVES}::test_a_second_resolution_is_refused",),
    ),
    Mutation(
        name="a hold is resolved once: the unique index",
        path=TABLES,
        text='condition=models.Q(("kind__in", ["settle", "release"])),',
        without='condition=models.Q(("kind__in", ["settle", "release"]), ("id__lt", 0)),',
        tests=(f"{REFUSED}::test_a_second_resolving_entry_of_a_reservation_is_refused",),
    ),
    Mutation(
        name="reserved is within the balance: the check",
        path=TABLES,
        text='("balance_micros__gte", models.F("reserved_micros")), ("reserved_micros__gte", 0)',
        without='("reserved_micros__gte", 0)',
        tests=(f"{REFUSED}::test_an_account_that_cannot_be_is_refused",),
    ),
    Mutation(
        name="nothing is held beyond what is available",
        path=HOLDS,
        text="        AND balance_micros - reserved_micros >= %(count)s * %(quote_micros)s\n",
        without="",
        tests=(f"{MOVES}::test_a_hold_over_what_is_available_is_refused",),
    ),
    Mutation(
        name="the account's row is locked while its money moves",
        path="billing/accounts.py",
        text="Account.objects.select_for_update(no_key=True).get(pk=account_id)",
        without="Account.objects.get(pk=account_id)",
        tests=(
            "tests/billing/test_races.py::test_money_moves_after_the_hold_that_is_open_and_by_what_it_left",
        ),
    ),
    Mutation(
        name="nothing is settled beyond the hold",
        path=HOLDS,
        text="quote_micros >= %(cost_micros)s",
        without="true",
        tests=(f"{MOVES}::test_a_cost_over_the_quote_is_refused",),
    ),
    Mutation(
        name="a suspended account holds nothing",
        path=HOLDS,
        text=" AND status = 'active'",
        without="",
        tests=(f"{MOVES}::test_a_suspended_account_holds_nothing_but_settles_what_was_accepted",),
    ),
    Mutation(
        name="money moves once for one form of the admin",
        path=LEDGER,
        text="    if request_id is not None and (entry :=",
        without="    if False and (entry :=",
        tests=("tests/zekron_api/test_admin_security.py::test_ten_clicks_at_once_move_the_money_once",),
    ),
    Mutation(
        name="the ledger is append-only: UPDATE and DELETE",
        path=TRIGGERS,
        text="    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_ledger_change();\n"
        "CREATE TRIGGER billing_ledger_untruncated",
        without="    FOR EACH STATEMENT WHEN (false) EXECUTE FUNCTION billing_refuse_ledger_change();\n"
        "CREATE TRIGGER billing_ledger_untruncated",
        tests=(f"{REFUSED}::test_an_entry_is_never_changed_or_deleted",),
    ),
    Mutation(
        name="the ledger is append-only: whatever role the session plays",
        path=TRIGGERS,
        text="ALTER TABLE billing_ledgerentry ENABLE ALWAYS TRIGGER billing_ledger_unchanged;\n",
        without="",
        tests=(f"{REFUSED}::test_an_entry_is_never_changed_or_deleted",),
    ),
    Mutation(
        name="the ledger is append-only: TRUNCATE, whatever role the session plays",
        path=TRIGGERS,
        text="ALTER TABLE billing_ledgerentry ENABLE ALWAYS TRIGGER billing_ledger_untruncated;\n",
        without="",
        tests=(
            f"{REFUSED}::test_every_trigger_of_the_ledger_holds_whatever_role_the_session_plays",
            f"{REFUSED}::test_the_ledger_is_never_truncated_outside_a_test_database",
        ),
    ),
    Mutation(
        name="the audit: a trigger of the ledger that does not always hold",
        path="billing/audit.py",
        text="tgname = name AND tgenabled = 'A')",
        without="tgname = name AND tgenabled <> 'D')",
        tests=("tests/billing/test_tampering.py::test_the_audit_finds_a_trigger_that_does_not_always_hold",),
    ),
    Mutation(
        name="a key is looked up by its whole digest",
        path="billing/keys.py",
        text="WHERE (key.digest = ANY(%(digests)s)",
        without="WHERE (left(key.digest, 4) = left(%(digest)s, 4)",
        tests=(
            "tests/billing/test_keys.py::test_a_key_whose_digest_differs_in_one_character_is_another_key",
        ),
    ),
    Mutation(
        name="a revoked key opens nothing",
        path="billing/keys.py",
        text="    AND key.revoked_at IS NULL AND (",
        without="    AND (",
        tests=("tests/billing/test_keys.py::test_unknown_revoked_and_expired_keys_end_alike",),
    ),
    Mutation(
        name="an expired key opens nothing",
        path="billing/keys.py",
        text="key.expires_at IS NULL OR key.expires_at > now)\n",
        without="true)\n",
        tests=("tests/billing/test_keys.py::test_unknown_revoked_and_expired_keys_end_alike",),
    ),
    Mutation(
        name="a known key is looked up again when it expires",
        path="billing/recent_keys.py",
        text="min(MAX_AGE_SECONDS, seconds_left)",
        without="MAX_AGE_SECONDS",
        tests=("tests/billing/test_recent_keys.py",),
    ),
    Mutation(
        name="a look-up that a change overtook is not kept",
        path="billing/recent_keys.py",
        text="reading.forgotten_count == self._forgotten_count and ",
        without="",
        tests=("tests/billing/test_recent_keys.py",),
    ),
    Mutation(
        name="a change is seen from its commit on",
        path="billing/recent_keys.py",
        text="transaction.on_commit(recent_keys.forget_all)",
        without="recent_keys.forget_all()",
        tests=("tests/billing/test_recent_keys.py",),
    ),
    Mutation(
        name="a known key that is revoked opens nothing",
        path="billing/keys.py",
        text="    forget_after_commit()\n",
        without="",
        tests=("tests/billing/test_recent_keys.py",),
    ),
    Mutation(
        name="a known key opens nothing of a suspended account",
        path="billing/accounts.py",
        text=' does not exist.")\n    forget_after_commit()\n',
        without=' does not exist.")\n',
        tests=("tests/billing/test_recent_keys.py",),
    ),
    Mutation(
        name="limits: an account's own bounds its open generations",
        path="billing/holds.py",
        text="<= coalesce(open_limit, %(open_limit)s) END",
        without="<= %(open_limit)s END",
        tests=("tests/billing/test_limits.py",),
    ),
    Mutation(
        name="limits: an account's own bounds its asynchronous generations",
        path="billing/holds.py",
        text="coalesce(queue_limit, %(open_limit)s)",
        without="%(open_limit)s",
        tests=("tests/billing/test_limits.py",),
    ),
    Mutation(
        name="limits: a key of a moment ago has its account's own rate",
        path="billing/keys.py",
        text="Account.Status.ACTIVE, *recent.remembered]",
        without="Account.Status.ACTIVE, None, None, None, 0]",
        tests=("tests/billing/test_limits.py",),
    ),
    Mutation(
        name="a hold asks once more whether its key is revoked",
        path="billing/holds.py",
        text="WHERE key.id = %(api_key_id)s AND revoked_at IS NULL",
        without="WHERE key.id = %(api_key_id)s",
        tests=(KEY_OF_WORK,),
    ),
    Mutation(
        name="a hold asks once more whether its key is expired",
        path="billing/holds.py",
        text="        AND (expires_at IS NULL OR expires_at > statement_timestamp())\n",
        without="",
        tests=(KEY_OF_WORK,),
    ),
    Mutation(
        name="a hold is of the account of its key",
        path="billing/holds.py",
        text="JOIN billing_apikey key USING (account_id)",
        without="CROSS JOIN billing_apikey key",
        tests=(KEY_OF_WORK,),
    ),
    Mutation(
        name="a hold reads its key as it is once the account is locked",
        path="billing/holds.py",
        text="    FOR NO KEY UPDATE OF key\n",
        without="",
        tests=(KEY_OF_WORK,),
    ),
    Mutation(
        name="a refused key leaves no source image behind",
        path="zekron_api/endpoints/create_generation.py",
        text="        keys.InvalidKey,\n",
        without="",
        tests=(KEY_OF_WORK,),
    ),
    Mutation(
        name="the audit compares the keys of generations and holds",
        path="workers/audit/rows.py",
        text="g.api_key_id IS DISTINCT FROM e.api_key_id",
        without="false",
        tests=(KEY_OF_WORK,),
    ),
    Mutation(
        name="the use of a key is not written each time",
        path="billing/keys.py",
        text="    if is_stale:\n",
        without="    if True:\n",
        tests=(KEY_OF_WORK,),
    ),
    Mutation(
        name="secret keys: an API key under a former one is found",
        path="billing/keys.py",
        text='        "digests": digests,\n',
        without='        "digests": digests[:1],\n',
        tests=(SECRET_KEYS,),
    ),
    Mutation(
        name="secret keys: the next use of an API key renews its digest",
        path="billing/keys.py",
        text="    digest = CASE WHEN digest = ANY(%(digests)s) THEN %(digest)s ELSE digest END,\n",
        without="",
        tests=(SECRET_KEYS,),
    ),
    Mutation(
        name="secret keys: an image keeps its token",
        path="workers/lifecycle/image_tokens.py",
        text="    if digest is None or not settings.SECRET_KEY_FALLBACKS:\n",
        without="    if True:\n",
        tests=(SECRET_KEYS,),
    ),
    Mutation(
        name="secret keys: a request under a former one is recognised",
        path="workers/lifecycle/idempotency.py",
        text="            former_digests=(*former, hashlib",
        without="            former_digests=(hashlib",
        tests=(SECRET_KEYS,),
    ),
    Mutation(
        name="secret keys: a lost client's retry under a former one is recognised",
        path="zekron_api/endpoints/submission.py",
        text="        lost_digests=digests if _may_be_retry(request) else (),\n",
        without="        lost_digests=digests[:1] if _may_be_retry(request) else (),\n",
        tests=(SECRET_KEYS,),
    ),
    Mutation(
        name="account names: one spelling",
        path="billing/account_names.py",
        text='unicodedata.normalize("NFKC", name)',
        without="name",
        tests=("tests/billing/test_account_names.py",),
    ),
    Mutation(
        name="account names: nothing that cannot be seen",
        path="billing/account_names.py",
        text="    if hidden is not None:\n",
        without="    if False:\n",
        tests=("tests/billing/test_account_names.py",),
    ),
    Mutation(
        name="only keys of active accounts are known",
        path="billing/keys.py",
        text="    if key.account.status == Account.Status.ACTIVE:\n",
        without="    if key:\n",
        tests=("tests/billing/test_keys.py",),
    ),
    Mutation(
        name="admin: the permission to open accounts mints nothing",
        path="billing/admin/accounts.py",
        text="OpenAccountForm if may_move_money else OpenAccountWithinDefaultForm",
        without="OpenAccountForm",
        tests=(f"{PERMISSIONS}::test_staff_who_may_only_add_accounts_mint_nothing_over_the_default",),
    ),
    Mutation(
        name="admin: only superusers change staff",
        path="billing/admin/staff.py",
        text="""        \"\"\"Allow superusers alone. The page for a password asks this too.\"\"\"
        return _is_superuser(request)
""",
        without="        return super().has_change_permission(request, obj)\n",
        tests=(PERMISSIONS,),
    ),
)
