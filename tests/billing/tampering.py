"""Changes what nobody may change, as only the owner of the tables could."""

from django.db import connection


def tamper(statements: str) -> None:
    """Execute what only the database's superuser could: with triggers, foreign keys and checks out of the way."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE billing_ledgerentry DISABLE TRIGGER USER")
        cursor.execute("ALTER TABLE billing_debtentry DISABLE TRIGGER USER")
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statements)
        cursor.execute("SET LOCAL session_replication_role = origin")
        for trigger in ("billing_ledger_unchanged", "billing_ledger_untruncated"):
            cursor.execute(f"ALTER TABLE billing_ledgerentry ENABLE ALWAYS TRIGGER {trigger}")
        for trigger in ("billing_debts_unchanged", "billing_debts_untruncated"):
            cursor.execute(f"ALTER TABLE billing_debtentry ENABLE ALWAYS TRIGGER {trigger}")
