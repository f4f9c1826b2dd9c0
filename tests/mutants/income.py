"""Mutations of money that comes in by itself."""

from tests.mutants.mutation import Mutation

CODES = "tests/billing/test_codes.py"
REDEEM_CODE = "tests/zekron_api/endpoints/test_redeem_code.py"
API = "billing/stripe_api.py"
TOP_UPS = "billing/card_top_ups.py"
EVENTS = "billing/stripe_events.py"
CARD_REFUNDS = "billing/card_refunds.py"
MODELS = "billing/card_models.py"
LEDGER = "billing/ledger.py"
AUDIT = "billing/income_audit.py"
MIGRATION = "billing/migrations/0016_card_top_ups.py"
CARDS = "tests/billing/test_card_top_ups.py"
REFUNDS = "tests/billing/test_card_refunds.py"
COMMANDS = "tests/billing/test_commands.py"
DEBTS = "tests/billing/test_debts.py"
LATE = "billing/late_orders.py"
LATE_ORDERS = "tests/billing/test_late_orders.py"
LANES = "zekron_api/waiting/open_lanes.py"
OPEN_LANES = "tests/zekron_api/waiting/test_open_lanes.py"
WEBHOOK = "tests/zekron_api/endpoints/test_top_ups.py"

MUTATIONS = (
    Mutation(
        name="a code is credited once: the guarded update",
        path="billing/codes.py",
        text="codes.filter(redeemed_at__isnull=True, revoked_at__isnull=True, expires_at__gt=Now())",
        without="codes.filter(revoked_at__isnull=True, expires_at__gt=Now())",
        tests=(f"{CODES}::test_64_threads_with_one_code_are_one_credit",),
    ),
    Mutation(
        name="a code that is revoked credits nothing",
        path="billing/codes.py",
        text="codes.filter(redeemed_at__isnull=True, revoked_at__isnull=True, expires_at__gt=Now())",
        without="codes.filter(redeemed_at__isnull=True, expires_at__gt=Now())",
        tests=(f"{CODES}::test_a_code_that_is_unknown_expired_revoked_or_taken_is_refused_alike",),
    ),
    Mutation(
        name="a code that is expired credits nothing",
        path="billing/codes.py",
        text="codes.filter(redeemed_at__isnull=True, revoked_at__isnull=True, expires_at__gt=Now())",
        without="codes.filter(redeemed_at__isnull=True, revoked_at__isnull=True)",
        tests=(f"{CODES}::test_a_code_that_is_unknown_expired_revoked_or_taken_is_refused_alike",),
    ),
    Mutation(
        name="a code is shown again only to the account that redeemed it",
        path="billing/codes.py",
        text="code = codes.filter(redeemed_by=account_id).first()",
        without="code = codes.filter(redeemed_by__isnull=False).first()",
        tests=(f"{CODES}::test_a_code_that_is_unknown_expired_revoked_or_taken_is_refused_alike",),
    ),
    Mutation(
        name="a code is credited once: the second guard, in the ledger",
        path="billing/codes.py",
        text="                request_id=code.credit_id,\n",
        without="",
        tests=(f"{CODES}::test_a_code_is_credited_once_to_the_account_that_redeems_it",),
    ),
    Mutation(
        name="a redeemed code is not revoked",
        path="billing/codes.py",
        text="filter(pk=code_id, redeemed_at__isnull=True, revoked_at__isnull=True)",
        without="filter(pk=code_id, revoked_at__isnull=True)",
        tests=(f"{CODES}::test_a_code_is_revoked_once_and_never_after_its_redemption",),
    ),
    Mutation(
        name="a code is read with the blanks and dashes of other programs",
        path="billing/codes.py",
        text='"".join(filter(_is_read, text.upper()))',
        without='text.upper().replace("-", "").replace(" ", "")',
        tests=(f"{CODES}::test_a_code_is_read_however_it_is_written",),
    ),
    Mutation(
        name="a reason that is too long is refused in one line",
        path=LEDGER,
        text='    if len(text) > most or "\\0" in text:\n',
        without="    if False:\n",
        tests=(f"{COMMANDS}::test_bad_input_is_refused_in_one_clear_line",),
    ),
    Mutation(
        name="a key's name that is too long is refused in one line",
        path="billing/grants.py",
        text='    if len(name) > MAX_NAME_CHARACTERS or "\\0" in name:\n',
        without="    if False:\n",
        tests=(f"{COMMANDS}::test_bad_input_is_refused_in_one_clear_line",),
    ),
    Mutation(
        name="cards: the webhook is not there without Stripe",
        path="zekron_api/endpoints/stripe_webhook.py",
        text="@csrf_exempt\n",
        without="@csrf_exempt\n@require_POST\n",
        tests=(f"{WEBHOOK}::test_without_stripe_everything_is_404",),
    ),
    Mutation(
        name="cards: a dispute of nothing takes nothing",
        path=EVENTS,
        text=' and body["amount"] > 0:',
        without=":",
        tests=(f"{CARDS}::test_a_dispute_or_refund_of_nothing_takes_nothing",),
    ),
    Mutation(
        name="codes need the permission that moves money",
        path="billing/admin/codes.py",
        text=' and request.user.has_perm("billing.change_account")',
        without="",
        tests=("tests/billing/test_admin_codes.py",),
    ),
    Mutation(
        name="failed redemptions are limited before a code is looked up",
        path="zekron_api/endpoints/redeem_code.py",
        text="    redemption_limit.refuse_guessing(account=account, address=address)\n",
        without="",
        tests=(f"{REDEEM_CODE}::test_an_account_that_guesses_is_stopped_whatever_addresses_it_has",),
    ),
    Mutation(
        name="failed redemptions at once are limited too",
        path="zekron_api/http/redemption_limit.py",
        text="        if not is_admitted:\n",
        without="        if False:\n",
        tests=(f"{REDEEM_CODE}::test_guesses_at_once_learn_no_more_than_guesses_in_turn",),
    ),
    Mutation(
        name="failed redemptions of an address are limited",
        path="zekron_api/http/redemption_limit.py",
        text='f"address:{address}"',
        without='f"address:{account.pk}"',
        tests=(f"{REDEEM_CODE}::test_an_address_that_guesses_is_stopped_whatever_accounts_it_has",),
    ),
    Mutation(
        name="cards: only money that was paid is credited",
        path=API,
        text='is_paid=made["payment_status"] == "paid"',
        without='is_paid=made["status"] == "complete"',
        tests=(f"{CARDS}::test_a_session_that_is_complete_and_unpaid_credits_nothing",),
    ),
    Mutation(
        name="cards: the amount is that of the order",
        path=TOP_UPS,
        text='if (session.amount_cents * MICROS_PER_CENT, session.currency) != (locked.amount_micros, "usd"):',
        without='if session.currency != "usd":',
        tests=(f"{CARDS}::test_a_payment_of_another_amount_or_currency_credits_nothing",),
    ),
    Mutation(
        name="cards: the currency is that of the order",
        path=TOP_UPS,
        text='if (session.amount_cents * MICROS_PER_CENT, session.currency) != (locked.amount_micros, "usd"):',
        without="if session.amount_cents * MICROS_PER_CENT != locked.amount_micros:",
        tests=(f"{CARDS}::test_a_payment_of_another_amount_or_currency_credits_nothing",),
    ),
    Mutation(
        name="cards: the order is named by our metadata",
        path=API,
        text='order=_get(_get(made, "metadata") or {}, _METADATA),',
        without='order=_get(made, "client_reference_id"),',
        tests=(f"{CARDS}::test_a_payment_of_another_shop_is_ignored",),
    ),
    Mutation(
        name="cards: the session is that of the order",
        path=TOP_UPS,
        text='        if locked.session_id not in ("", session.id):\n',
        without="        if False:\n",
        tests=(f"{CARDS}::test_an_order_is_paid_and_ended_by_its_own_session_alone",),
    ),
    Mutation(
        name="cards: another session ends no order",
        path=TOP_UPS,
        text='pending.filter(session_id__in=("", session_id))',
        without="pending",
        tests=(f"{CARDS}::test_an_order_is_paid_and_ended_by_its_own_session_alone",),
    ),
    Mutation(
        name="cards: a paid order is credited no more",
        path=TOP_UPS,
        text="        if locked.status == Status.PAID:\n            return\n",
        without="",
        tests=(f"{CARDS}::test_a_payment_is_credited_once_by_its_order",),
    ),
    Mutation(
        name="cards: the credit has the order's id",
        path=TOP_UPS,
        text="            request_id=locked.pk,\n",
        without="",
        tests=(f"{CARDS}::test_a_payment_is_credited_once_by_its_order",),
    ),
    Mutation(
        name="cards: events of one order wait for each other",
        path=TOP_UPS,
        text="TopUpOrder.objects.select_for_update(no_key=True).get(pk=order_id)",
        without="TopUpOrder.objects.get(pk=order_id)",
        tests=(f"{CARDS}::test_events_at_once_credit_once",),
    ),
    Mutation(
        name="cards: refunds are told by their sum, in any order",
        path=TOP_UPS,
        text="max(locked.refunded_micros, refunded_micros)",
        without="refunded_micros",
        tests=(f"{CARDS}::test_refunds_are_taken_out_by_their_sum",),
    ),
    Mutation(
        name="cards: no more is taken back than was paid",
        path=TOP_UPS,
        text="min(locked.amount_micros, locked.refund_micros + disputed_micros(locked))",
        without="locked.refund_micros + disputed_micros(locked)",
        tests=(f"{CARDS}::test_refunds_and_disputes_together_take_no_more_than_was_paid",),
    ),
    Mutation(
        name="cards: a dispute suspends the account",
        path=TOP_UPS,
        text="            accounts.suspend(account_id=locked.account_id)\n",
        without="",
        tests=(f"{CARDS}::test_a_dispute_takes_the_amount_and_suspends_and_a_won_one_gives_it_back",),
    ),
    Mutation(
        name="cards: a reversal before the payment waits for it",
        path=TOP_UPS,
        text="    if locked.status != Status.PAID:\n        return 0\n",
        without="",
        tests=(f"{CARDS}::test_a_refund_that_is_told_before_the_payment_waits_for_it",),
    ),
    Mutation(
        name="cards: an inquiry takes no money",
        path=EVENTS,
        text=' and body["status"] not in _INQUIRIES',
        without="",
        tests=(f"{CARDS}::test_an_inquiry_and_a_dispute_that_was_won_already_take_nothing",),
    ),
    Mutation(
        name="cards: an event is signed",
        path=API,
        text="_client().construct_event(content, signature, settings.STRIPE_WEBHOOK_SECRET)",
        without="_client().construct_event_without_verification(content)",
        tests=(f"{WEBHOOK}::test_an_event_that_stripe_did_not_sign_just_now_is_refused",),
    ),
    Mutation(
        name="cards: an order has threads of its own",
        path=LANES,
        text='    ("POST", TOP_UPS): "top-up",\n',
        without="",
        tests=(f"{OPEN_LANES}::test_requests_that_wait_for_stripe_take_no_thread_of_others",),
    ),
    Mutation(
        name="cards: an event has a thread of its own",
        path=LANES,
        text='    ("POST", EVENTS): "event",\n',
        without="",
        tests=(f"{OPEN_LANES}::test_requests_that_wait_for_stripe_take_no_thread_of_others",),
    ),
    Mutation(
        name="cards: an account has few orders that wait",
        path=TOP_UPS,
        text=".count() >= MAX_PENDING:",
        without=".count() > MAX_PENDING:",
        tests=(f"{WEBHOOK}::test_an_account_has_a_bounded_number_of_orders_that_wait",),
    ),
    Mutation(
        name="cards: orders at once count each other",
        path=TOP_UPS,
        text="        accounts.lock(account_id=account_id)\n",
        without="",
        tests=(f"{WEBHOOK}::test_orders_at_once_are_no_more_than_orders_in_turn",),
    ),
    Mutation(
        name="cards: newer orders keep no older one from being asked for",
        path=LATE,
        text='.order_by("due_at")[:MAX_CHECKED_AT_ONCE]',
        without='.order_by(F("checked_at").asc(nulls_first=True))[:MAX_CHECKED_AT_ONCE]',
        tests=(f"{LATE_ORDERS}::test_newer_orders_do_not_keep_an_older_one_from_being_asked_for",),
    ),
    Mutation(
        name="cards: an old order is asked for every six hours",
        path=LATE,
        text="Least(Greatest(_AGE_WHEN_CHECKED, LATE_AFTER), MAX_WAIT)",
        without="Greatest(_AGE_WHEN_CHECKED, LATE_AFTER)",
        tests=(
            f"{LATE_ORDERS}::test_an_order_is_asked_for_less_often_as_it_grows_older_and_never_less_than_every_six_hours",
        ),
    ),
    Mutation(
        name="cards: an order does not end by its age alone",
        path=LATE,
        text="    return len(checked)\n",
        without="    pending_orders.filter(created_at__lt=Now() - GIVE_UP_AFTER).update(status=Status.EXPIRED)\n"
        "    return len(checked)\n",
        tests=(
            f"{LATE_ORDERS}::test_an_order_is_asked_for_less_often_as_it_grows_older_and_never_less_than_every_six_hours",
        ),
    ),
    Mutation(
        name="cards: an order whose page may be open is not given up",
        path=LATE,
        text="created_at__lt=Now() - GIVE_UP_AFTER",
        without="created_at__lt=Now()",
        tests=(
            f"{LATE_ORDERS}::test_an_order_is_given_up_once_its_page_has_ended_and_one_without_a_page_at_once",
        ),
    ),
    Mutation(
        name="cards: a page is made once for an order",
        path=API,
        text='            {"idempotency_key": name},\n',
        without="            {},\n",
        tests=(f"{CARDS}::test_the_order_is_written_before_stripe_is_asked",),
    ),
    Mutation(
        name="cards: a refund is made once",
        path=API,
        text='            {"idempotency_key": str(refund_id)},\n',
        without="            {},\n",
        tests=(f"{REFUNDS}::test_the_account_pays_and_then_the_card_is_refunded",),
    ),
    Mutation(
        name="cards: a refused refund is given back",
        path=CARD_REFUNDS,
        text="        _give_back(made)\n",
        without="",
        tests=(f"{REFUNDS}::test_a_refund_that_stripe_refuses_is_given_back",),
    ),
    Mutation(
        name="cards: a refund that Stripe may have forgotten is not sent again",
        path=CARD_REFUNDS,
        text="pending.filter(created_at__gt=Now() - _GIVE_UP_AFTER)",
        without="pending",
        tests=(f"{REFUNDS}::test_a_refund_that_stripe_may_have_forgotten_is_not_sent_again",),
    ),
    Mutation(
        name="cards: a refund of staff is not taken again by its event",
        path=MODELS,
        text="max(self.refunded_micros, self.refund_asked_micros) -",
        without="self.refunded_micros + self.refund_asked_micros -",
        tests=(f"{REFUNDS}::test_the_account_pays_and_then_the_card_is_refunded",),
    ),
    Mutation(
        name="cards: a refund that fails later is given back",
        path=EVENTS,
        text='    "refund.failed": _refund_changed,\n',
        without="",
        tests=(f"{REFUNDS}::test_a_refund_of_the_dashboard_that_fails_is_given_back",),
    ),
    Mutation(
        name="cards: what failed once stays failed",
        path=CARD_REFUNDS,
        text="        if told.is_failed and not row.is_failed:\n            row.is_failed = True\n",
        without="        if told.is_failed != row.is_failed:\n            row.is_failed = told.is_failed\n",
        tests=(f"{REFUNDS}::test_a_refund_that_fails_later_is_given_back_once",),
    ),
    Mutation(
        name="cards: a refund that fails at once is not done",
        path=CARD_REFUNDS,
        text='raise stripe_api.StripeRefused("The refund failed.")',
        without="return",
        tests=(f"{REFUNDS}::test_a_refund_that_fails_at_once_is_given_back",),
    ),
    Mutation(
        name="cards: a replacement may be told before the failure",
        path=CARD_REFUNDS,
        text='min(sums["told"], order.amount_micros + sums["failed"])',
        without='sums["told"]',
        tests=(f"{REFUNDS}::test_a_failure_that_is_told_before_or_after_its_replacement_counts_once",),
    ),
    Mutation(
        name="cards: no more is refunded than is left",
        path=CARD_REFUNDS,
        text=" or amount_micros > left_micros:",
        without=":",
        tests=(f"{REFUNDS}::test_no_more_is_refunded_than_is_left_and_available",),
    ),
    Mutation(
        name="debts: a credit pays the debt first",
        path=LEDGER,
        text="        _pay_debt(account, entry)\n",
        without="",
        tests=(f"{DEBTS}::test_a_credit_pays_the_debt_first_and_the_ledger_shows_both",),
    ),
    Mutation(
        name="debts: a reversal leaves what is reserved",
        path=LEDGER,
        text="min(amount_micros, account.available_micros)",
        without="min(amount_micros, account.balance_micros)",
        tests=(f"{DEBTS}::test_a_reversal_takes_what_is_available_and_raises_a_debt_for_the_rest",),
    ),
    Mutation(
        name="debts: the entries are append-only",
        path=MIGRATION,
        text="ALTER TABLE billing_debtentry ENABLE ALWAYS TRIGGER billing_debts_unchanged;\n",
        without="",
        tests=(f"{DEBTS}::test_a_debt_entry_is_never_changed_or_deleted",),
    ),
    Mutation(
        name="debts: the audit adds them up",
        path=AUDIT,
        text="WHERE debt_micros <> coalesce(owed, 0)",
        without="WHERE false",
        tests=(f"{CARDS}::test_the_audit_finds_tampering_with_card_payments",),
    ),
)
