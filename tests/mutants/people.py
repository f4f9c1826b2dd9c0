"""Mutations of the sign-in of people: lockouts, links, invitations, second factors and the proof before money moves."""

from tests.mutants.mutation import Mutation

FAILURES = "tests/zekron_api/http/test_login_failures.py"
LINKS = "tests/zekron_api/people/test_sign_in_links.py"
JOINING = "tests/zekron_api/people/test_joining.py"
LIMITS = "tests/zekron_api/people/test_limits.py"
FACTORS = "tests/zekron_api/people/test_second_factor.py"
SIGN_UP = "tests/zekron_api/people/test_sign_up.py"
STAFF_LOG = "tests/zekron_api/people/test_staff_log.py"
PROOF = "tests/billing/test_admin_proof.py"
SECURITY = "tests/zekron_api/test_admin_security.py"

MUTATIONS = (
    Mutation(
        name="people: guesses at once are counted one by one",
        path="zekron_api/http/login_failures.py",
        text="            cursor.execute(_LOCK, [key])\n",
        without="            pass\n",
        tests=(f"{FAILURES}::test_of_many_guesses_at_once_only_five_are_looked_at",),
    ),
    Mutation(
        name="people: a login forgets earlier failures",
        path="zekron_api/people/adapter.py",
        text="            login_failures.forget(**_pair(request, credentials))\n",
        without="            pass\n",
        tests=(f"{SECURITY}::test_four_failures_are_forgotten_by_a_login",),
    ),
    Mutation(
        name="people: the last failure is answered as those after it",
        path="zekron_api/people/adapter.py",
        text="        if login_failures.is_locked_out(**_pair(request, credentials)):\n",
        without="        if False:\n",
        tests=(f"{SECURITY}::test_after_five_failures_even_the_right_password_is_refused",),
    ),
    Mutation(
        name="people: a try costs one hash",
        path="zekron_api/people/backend.py",
        text='            credentials.pop("email", None)\n',
        without="            pass\n",
        tests=(f"{LIMITS}::test_a_try_costs_one_hash_whether_the_name_is_known_or_not",),
    ),
    Mutation(
        name="people: codes count as logins",
        path="zekron_api/people/limits.py",
        text='    "mfa_authenticate": _pending,\n',
        without="",
        tests=(f"{LIMITS}::test_codes_count_as_logins",),
    ),
    Mutation(
        name="people: a link lives an hour",
        path="zekron_api/people/sign_in_links.py",
        text="made <= LIFE.total_seconds()",
        without="made <= 10**9",
        tests=(f"{LINKS}::test_a_link_lives_an_hour",),
    ),
    Mutation(
        name="people: a link is used once by many clicks",
        path="zekron_api/people/sign_in_links.py",
        text="User.objects.select_for_update(no_key=True)",
        without="User.objects",
        tests=(f"{LINKS}::test_of_many_clicks_at_once_one_signs_in",),
    ),
    Mutation(
        name="people: opening a link does not use it up",
        path="zekron_api/people/views.py",
        text='            if request.method == "POST":\n                return _sign_in(request, user)\n',
        without="            return _sign_in(request, user)\n",
        tests=(f"{LINKS}::test_a_program_that_opens_a_link_does_not_use_it_up",),
    ),
    Mutation(
        name="people: a used invitation leaves nobody behind",
        path="zekron_api/people/views.py",
        text="    with transaction.atomic():\n        person = form.save(request)\n",
        without="    if True:\n        person = form.save(request)\n",
        tests=(f"{JOINING}::test_a_link_makes_one_person",),
    ),
    Mutation(
        name="people: sign-up is closed",
        path="zekron_api/people/adapter.py",
        text='return bool(settings.SIGNUP == "open")',
        without="return True",
        tests=(f"{SIGN_UP}::test_sign_up_is_closed_by_default",),
    ),
    Mutation(
        name="people: an account opens when the address is confirmed",
        path="zekron_api/people/sign_up.py",
        text="    if not settings.SENDS_MAIL:\n",
        without="    if True:\n",
        tests=(f"{SIGN_UP}::test_with_mail_the_account_opens_when_the_address_is_confirmed",),
    ),
    Mutation(
        name="people: staff need a second factor",
        path="zekron_api/staff/site.py",
        text=" and not _lacks_second_factor(request)",
        without="",
        tests=(f"{FACTORS}::test_staff_without_a_second_factor_set_one_up_before_they_see_anything",),
    ),
    Mutation(
        name="people: recovery codes are no second factor",
        path="zekron_api/people/second_factor.py",
        text=", type__in=_FACTORS",
        without="",
        tests=(f"{FACTORS}::test_recovery_codes_alone_are_no_second_factor",),
    ),
    Mutation(
        name="people: secrets of second factors are sealed",
        path="zekron_api/people/second_factor.py",
        text='return f"{key.pk}:{_cipher(key).encrypt(text.encode()).decode()}"',
        without='return f"{key.pk}:{text}"',
        tests=(f"{FACTORS}::test_the_database_alone_shows_no_secret",),
    ),
    Mutation(
        name="people: a new password asks for a proof",
        path="zekron_api/people/views.py",
        text='    if flows.reauthentication.is_reauthentication_required(request, app=""):\n',
        without="    if False:\n",
        tests=(f"{FACTORS}::test_a_new_password_is_not_kept_while_a_proof_is_asked_for",),
    ),
    Mutation(
        name="people: a proof is of the last minutes",
        path="zekron_api/people/adapter.py",
        text="return bool(time.time() - newest >= app_settings.REAUTHENTICATION_TIMEOUT)",
        without="return not records",
        tests=(f"{FACTORS}::test_a_second_factor_is_changed_only_by_somebody_who_signed_in_lately",),
    ),
    Mutation(
        name="people: only staff are in the log of staff",
        path="zekron_api/people/staff_log.py",
        text="    if user.is_staff:\n",
        without="    if True:\n",
        tests=(f"{STAFF_LOG}::test_customers_have_no_entries",),
    ),
    Mutation(
        name="people: a form that comes back as typed is not sent by itself",
        path="billing/admin/accounts.py",
        text="""        form = MoveMoneyForm(reauthentication.typed_form(request))
        if request.method == "POST" and form.is_valid():
""",
        without="""        form = MoveMoneyForm(reauthentication.typed_form(request))
        if form.is_valid():
""",
        tests=(f"{PROOF}::test_a_form_that_comes_too_late_moves_nothing_and_comes_back_as_typed",),
    ),
    Mutation(
        name="people: what was typed for one account is not shown for another",
        path="billing/admin/reauthentication.py",
        text=' or kept["path"] != request.path',
        without="",
        tests=(f"{PROOF}::test_what_was_typed_for_one_account_is_not_shown_for_another",),
    ),
    Mutation(
        name="people: a new key asks for a proof",
        path="billing/admin/reauthentication.py",
        text="        asked = ask(request) if self.has_add_permission(request) else None\n",
        without="        asked = None\n",
        tests=(f"{PROOF}::test_each_page_that_moves_money_asks_and_comes_back",),
    ),
)
