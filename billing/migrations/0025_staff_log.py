"""An append-only log of the acts of staff: triggers refuse UPDATE, DELETE and TRUNCATE, as for the ledger.

A change is refused row by row, because Django also deletes the log of a user who has none. TRUNCATE passes in a test
database alone.
"""

from django.db import migrations

REFUSE = """
CREATE FUNCTION billing_refuse_staff_log_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' AND starts_with(current_database(), 'test_') THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'The log of staff is append-only: % is refused.', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER billing_staff_log_unchanged BEFORE UPDATE OR DELETE ON django_admin_log
    FOR EACH ROW EXECUTE FUNCTION billing_refuse_staff_log_change();
CREATE TRIGGER billing_staff_log_untruncated BEFORE TRUNCATE ON django_admin_log
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_staff_log_change();
ALTER TABLE django_admin_log ENABLE ALWAYS TRIGGER billing_staff_log_unchanged;
ALTER TABLE django_admin_log ENABLE ALWAYS TRIGGER billing_staff_log_untruncated;
"""

ALLOW = """
DROP TRIGGER billing_staff_log_unchanged ON django_admin_log;
DROP TRIGGER billing_staff_log_untruncated ON django_admin_log;
DROP FUNCTION billing_refuse_staff_log_change();
"""


class Migration(migrations.Migration):
    """The triggers of the log."""

    dependencies = [
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("billing", "0024_validate_failed_refunds"),
    ]
    operations = [migrations.RunSQL(sql=REFUSE, reverse_sql=ALLOW)]
