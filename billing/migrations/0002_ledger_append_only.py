"""An append-only ledger: triggers refuse UPDATE, DELETE and TRUNCATE to every role.

The triggers are ENABLE ALWAYS, so `session_replication_role` cannot bypass them. Only the table's owner can disable
them by name, and the audit reports that while it lasts.

Django cleans up after tests that commit with TRUNCATE. TRUNCATE passes where the database's name begins with `test_`,
the name that Django gives to a test database, so no test has to know of the triggers. No setting, session variable or
role lets it pass in a database with another name. UPDATE and DELETE are refused in a test database too.
"""

from django.db import migrations

REFUSE = """
CREATE FUNCTION billing_refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' AND starts_with(current_database(), 'test_') THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'The ledger is append-only: % is refused.', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER billing_ledger_unchanged BEFORE UPDATE OR DELETE ON billing_ledgerentry
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_ledger_change();
CREATE TRIGGER billing_ledger_untruncated BEFORE TRUNCATE ON billing_ledgerentry
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_ledger_change();
ALTER TABLE billing_ledgerentry ENABLE ALWAYS TRIGGER billing_ledger_unchanged;
ALTER TABLE billing_ledgerentry ENABLE ALWAYS TRIGGER billing_ledger_untruncated;
"""

ALLOW = """
DROP TRIGGER billing_ledger_unchanged ON billing_ledgerentry;
DROP TRIGGER billing_ledger_untruncated ON billing_ledgerentry;
DROP FUNCTION billing_refuse_ledger_change();
"""


class Migration(migrations.Migration):
    """The triggers of the ledger."""

    dependencies = [("billing", "0001_initial")]
    operations = [migrations.RunSQL(sql=REFUSE, reverse_sql=ALLOW)]
