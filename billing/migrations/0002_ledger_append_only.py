"""The ledger can only be added to: triggers refuse UPDATE, DELETE and TRUNCATE, whoever asks.

They are ENABLE ALWAYS, so that `session_replication_role` does not step around them; what is left is to disable
them by name as the table's owner, which the audit reports while it lasts.

Tests that commit are cleaned up by Django with TRUNCATE. It passes where the database's name begins with `test_`,
the name that Django gives to a test database and refuses to nobody else: no test of any package needs to know, and
no setting, session variable or role lets it pass in a database with another name. UPDATE and DELETE are refused there too.
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
    dependencies = [("billing", "0001_initial")]
    operations = [migrations.RunSQL(sql=REFUSE, reverse_sql=ALLOW)]
