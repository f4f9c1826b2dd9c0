"""Mutations of the console's pages for keys, webhooks and people."""

from tests.mutants.mutation import Mutation

ACCESS = "zekron_api/console/access.py"
PAGES = "tests/zekron_api/console"

MUTATIONS = (
    Mutation(
        name="account pages: a person who manages keys is of the account",
        path="billing/key_delegation.py",
        text="memberships.find(user_id=holder.person_id, account_id=holder.account_id)",
        without="Membership.objects.get(user_id=holder.person_id)",
        tests=("tests/billing/test_key_delegation.py::test_an_owner_of_another_account_manages_no_keys",),
    ),
    Mutation(
        name="account pages: a key is of the account",
        path="zekron_api/console/keys/views.py",
        text="pk=key_id, account_id=access.account.pk, revoked_at__isnull=True",
        without="pk=key_id, revoked_at__isnull=True",
        tests=(f"{PAGES}/test_keys.py::test_a_key_of_another_account_is_not_there",),
    ),
    Mutation(
        name="account pages: an edit of a key writes what was changed",
        path="zekron_api/console/keys/views.py",
        text="changes=form.read_grants(of=changed)",
        without="changes=form.read_grants()",
        tests=(
            f"{PAGES}/test_keys.py::test_an_edit_writes_only_what_was_changed_in_it",
            f"{PAGES}/test_keys.py::test_an_expiry_that_is_not_touched_keeps_its_seconds",
        ),
    ),
    Mutation(
        name="account pages: a webhook is of the account",
        path="zekron_api/console/webhooks/lookup.py",
        text="    mine = endpoints.of_account(access.account.pk)\n",
        without="    mine = WebhookEndpoint.objects.all()\n",
        tests=(
            f"{PAGES}/test_webhooks.py::test_a_webhook_of_another_account_is_not_there",
            f"{PAGES}/test_webhooks.py::test_no_act_reaches_a_webhook_of_another_account",
        ),
    ),
    Mutation(
        name="account pages: an address is checked",
        path="zekron_api/console/webhooks/forms.py",
        text='            if "url" in self.changed_data:\n',
        without='            if "url" not in self.changed_data:\n',
        tests=(f"{PAGES}/test_webhooks.py::test_a_wrong_field_is_explained_and_nothing_typed_is_lost",),
    ),
    Mutation(
        name="account pages: the log by state",
        path="workers/webhooks/deliveries.py",
        text="wanted = older if state is None else older & _OF_STATE[state]",
        without="wanted = older",
        tests=(f"{PAGES}/test_webhooks.py::test_the_log_is_shown_in_pages_and_by_state",),
    ),
    Mutation(
        name="account pages: a script of somebody who signed out",
        path=ACCESS,
        text="        @_reload_signed_out\n",
        without="",
        tests=(
            f"{PAGES}/test_webhooks.py::test_a_script_of_somebody_who_signed_out_has_the_page_load_again",
        ),
    ),
    Mutation(
        name="account pages: forms are bounded",
        path=ACCESS,
        text='            if request.method == "POST" and (',
        without='            if request.method == "PUT" and (',
        tests=(
            f"{PAGES}/test_people.py::test_forms_of_an_account_are_bounded",
            f"{PAGES}/test_people.py::test_a_suspended_account_is_looked_at_and_not_changed",
        ),
    ),
    Mutation(
        name="account pages: a person is of the account",
        path="zekron_api/console/people/views.py",
        text="memberships.list_of_account(account_id=access.account.pk), pk=membership_id",
        without="Membership, pk=membership_id",
        tests=(f"{PAGES}/test_people.py::test_people_of_another_account_are_out_of_reach",),
    ),
    Mutation(
        name="account pages: invitations of a day are bounded",
        path="billing/invitations.py",
        text="        if _count_of_day(account_id) >= MAX_IN_A_DAY:\n",
        without="        if _count_of_day(account_id) < 0:\n",
        tests=("tests/billing/test_invitations.py::test_invitations_of_a_day_are_bounded_also_revoked_ones",),
    ),
)
