"""Read-only checks of money that comes in by itself: codes, orders by card and debts against the ledger's entries."""

from collections.abc import Sequence
from typing import Final

from django.db.models import Model

from billing import card_top_ups, codes, ledger
from billing.card_models import CardDispute, CardMovement, CardRefund, ToldRefund, TopUpOrder
from billing.debt_models import DebtEntry
from billing.income_models import RedemptionCode

# A redeemed code must have one credit of its amount to the account that redeemed it, and any other code none. Nothing
# else credits in the name of a code.
CODES: Final = f"""
SELECT format('redemption code %s (%s micros) %s', id, amount_micros, message) FROM (
    SELECT c.*, e.id AS entry, coalesce(e.kind = 'credit' AND e.account_id = c.redeemed_by_id
        AND e.amount_micros = c.amount_micros AND e.actor = '{codes.ACTOR}', false) AS is_its_credit
    FROM billing_redemptioncode c LEFT JOIN billing_ledgerentry e ON e.request_id = c.credit_id
) AS code CROSS JOIN LATERAL (VALUES
    (redeemed_at IS NOT NULL AND NOT is_its_credit,
     format('was redeemed by account %s and has no such credit', redeemed_by_id)),
    (redeemed_at IS NULL AND entry IS NOT NULL, format('was not redeemed and has the entry id %s', entry))
) AS discrepancy(found, message) WHERE found
UNION ALL
SELECT format('entry id %s of account %s credits a redemption code, which does not exist', e.id, e.account_id)
FROM billing_ledgerentry e WHERE actor = '{codes.ACTOR}'
    AND NOT EXISTS (SELECT FROM billing_redemptioncode c WHERE c.credit_id = e.request_id)
"""  # noqa: S608 (only a constant is inserted)

# A paid order must have one credit of its amount, and any other order none. It must have taken back what refunds and
# disputes say, by its movements. A refund by staff must have its movement. The sums of refunds follow from those told.
ORDERS: Final = """
SELECT format('top-up %s of account %s (%s, %s micros) %s', id, account_id, status, amount_micros, message) FROM (
    SELECT o.*, e.id AS entry, coalesce(e.kind = 'credit' AND e.account_id = o.account_id
            AND e.amount_micros = o.amount_micros, false) AS is_its_credit,
        coalesce((SELECT sum(CASE kind WHEN 'taken' THEN m.amount_micros ELSE -m.amount_micros END)
            FROM billing_cardmovement m WHERE m.order_id = o.id), 0) AS moved,
        CASE WHEN status = 'paid' THEN least(o.amount_micros, greatest(refunded_micros, refund_asked_micros)
            - refund_failed_micros + coalesce((SELECT sum(d.amount_micros) FROM billing_carddispute d
                WHERE d.order_id = o.id AND NOT is_won), 0)) ELSE 0 END AS due,
        (SELECT count(*) FROM billing_cardrefund r WHERE r.order_id = o.id AND NOT EXISTS (
            SELECT FROM billing_cardmovement m WHERE m.id = r.id AND m.order_id = o.id AND m.kind = 'taken'
                AND m.amount_micros = r.amount_micros)) AS untaken_refunds,
        coalesce((SELECT sum(t.amount_micros) FROM billing_toldrefund t
            WHERE t.order_id = o.id), 0) AS told,
        coalesce((SELECT sum(t.amount_micros) FROM billing_toldrefund t
            WHERE t.order_id = o.id AND is_failed), 0) AS failed
    FROM billing_topuporder o LEFT JOIN billing_ledgerentry e ON e.request_id = o.id
) AS orders CROSS JOIN LATERAL (VALUES
    (status = 'paid' AND NOT is_its_credit, 'has no such credit'),
    (status <> 'paid' AND entry IS NOT NULL, format('has the entry id %s', entry)),
    (taken_micros <> moved, format('says %s micros are taken back and has movements of %s', taken_micros, moved)),
    (taken_micros <> due, format('has taken back %s micros, due is %s', taken_micros, due)),
    (refund_failed_micros <> failed, format('says %s micros of refunds failed, %s did', refund_failed_micros, failed)),
    (refunded_micros < least(told, amount_micros + failed),
     format('says %s micros are refunded, Stripe told %s', refunded_micros, told)),
    (untaken_refunds > 0, format('has %s refunds without their movement', untaken_refunds))
) AS discrepancy(found, message) WHERE found
"""

# A movement must be what the ledger's entry and the debt of its id are together. Nothing else moves in Stripe's name.
MOVEMENTS: Final = f"""
SELECT format('movement %s of top-up %s (%s, %s micros) has an entry of %s and a debt of %s micros',
    m.id, m.order_id, m.kind, m.amount_micros, coalesce(e.amount_micros, 0), coalesce(d.amount_micros, 0))
FROM billing_cardmovement m JOIN billing_topuporder o ON o.id = m.order_id
    LEFT JOIN billing_ledgerentry e ON e.request_id = m.id AND e.account_id = o.account_id
        AND e.kind = CASE m.kind WHEN 'taken' THEN 'refund' ELSE 'credit' END
    LEFT JOIN billing_debtentry d ON d.request_id = m.id AND d.account_id = o.account_id AND m.kind = 'taken'
WHERE coalesce(e.amount_micros, 0) + coalesce(d.amount_micros, 0) <> m.amount_micros
UNION ALL
SELECT format('entry id %s of account %s belongs to no top-up by card', e.id, e.account_id)
FROM billing_ledgerentry e WHERE actor = '{card_top_ups.ACTOR}'
    AND NOT EXISTS (SELECT FROM billing_topuporder o WHERE o.id = e.request_id)
    AND NOT EXISTS (SELECT FROM billing_cardmovement m WHERE m.id = e.request_id)
UNION ALL
SELECT format('debt entry %s of account %s belongs to no top-up by card', d.id, d.account_id)
FROM billing_debtentry d WHERE kind = 'raised'
    AND NOT EXISTS (SELECT FROM billing_cardmovement m WHERE m.id = d.request_id)
"""  # noqa: S608 (only a constant is inserted)

# An account's debt must follow from its debt entries, each of which stores the debt after it. A paid debt must have an
# entry of its amount in the ledger, and such an entry a paid debt.
DEBTS: Final = f"""
SELECT format('account %s: debt %s is not the debt entries'' sum %s micros', a.id, debt_micros, coalesce(owed, 0))
FROM billing_account a LEFT JOIN (
    SELECT account_id, sum(CASE kind WHEN 'raised' THEN amount_micros ELSE -amount_micros END) AS owed
    FROM billing_debtentry GROUP BY account_id
) AS entries ON account_id = a.id WHERE debt_micros <> coalesce(owed, 0)
UNION ALL
SELECT format('debt entry %s of account %s stores debt %s, due is %s micros', id, account_id, debt_after_micros, due)
FROM (
    SELECT *, lag(debt_after_micros, 1, 0::bigint) OVER (PARTITION BY account_id ORDER BY id)
        + CASE kind WHEN 'raised' THEN amount_micros ELSE -amount_micros END AS due
    FROM billing_debtentry
) AS chain WHERE debt_after_micros <> due
UNION ALL
SELECT format('debt entry %s of account %s has no payment of its amount', d.id, d.account_id)
FROM billing_debtentry d LEFT JOIN billing_ledgerentry e ON e.id = d.ledger_entry_id AND e.kind = 'refund'
    AND e.account_id = d.account_id AND e.amount_micros = d.amount_micros AND e.actor = '{ledger.DEBT_ACTOR}'
WHERE d.kind = 'paid' AND e.id IS NULL
UNION ALL
SELECT format('entry id %s of account %s pays no debt', e.id, e.account_id)
FROM billing_ledgerentry e WHERE actor = '{ledger.DEBT_ACTOR}'
    AND NOT EXISTS (SELECT FROM billing_debtentry d WHERE d.ledger_entry_id = e.id)
"""  # noqa: S608 (only a constant is inserted)

CHECKS: Final = (CODES, ORDERS, MOVEMENTS, DEBTS)
MODELS: Final[Sequence[type[Model]]] = (
    RedemptionCode,
    TopUpOrder,
    CardDispute,
    CardRefund,
    ToldRefund,
    CardMovement,
    DebtEntry,
)
