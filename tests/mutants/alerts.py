"""Mutations of alerts."""

from tests.mutants.mutation import Mutation

TOLD = "tests/billing/test_alerts.py"
SENT = "tests/workers/test_alerts.py"

MUTATIONS = (
    Mutation(
        name="alerts: a low balance is told once",
        path="billing/alerts.py",
        text="WHERE s.low_balance_told_at IS NULL AND balance_micros",
        without="WHERE balance_micros",
        tests=(f"{TOLD}::test_a_low_balance_is_told_once_and_again_after_it_was_back",),
    ),
    Mutation(
        name="alerts: a balance that came back is told again",
        path="billing/alerts.py",
        text="        cursor.execute(_REARM)\n",
        without="",
        tests=(f"{TOLD}::test_a_low_balance_is_told_once_and_again_after_it_was_back",),
    ),
    Mutation(
        name="alerts: a percentage is told once in a period",
        path="billing/alerts.py",
        text="CASE WHEN key.told_since = key.counted_since THEN key.told_percent ELSE 0 END",
        without="0",
        tests=(f"{TOLD}::test_each_percentage_of_a_key_is_told_once_and_only_the_highest_of_several",),
    ),
    Mutation(
        name="alerts: a new period is told anew",
        path="billing/alerts.py",
        text="CASE WHEN key.told_since = key.counted_since THEN key.told_percent ELSE 0 END",
        without="key.told_percent",
        tests=(f"{TOLD}::test_a_new_period_is_told_anew",),
    ),
    Mutation(
        name="alerts: a disabled webhook is told once",
        path="workers/webhooks/endpoints.py",
        text=".update(disabled_told_at=Now())",
        without=".update(disabled_told_at=None)",
        tests=(f"{SENT}::test_the_account_s_webhooks_get_the_alerts_that_they_want",),
    ),
    Mutation(
        name="alerts: mail that fails costs nothing",
        path="workers/alerts.py",
        text="    except (SMTPException, OSError) as error:",
        without="    except ZeroDivisionError as error:",
        tests=(f"{SENT}::test_mail_that_cannot_be_sent_costs_nothing_but_a_line",),
    ),
)
