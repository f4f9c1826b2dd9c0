"""The function that writes an event of a generation into the outbox.

It is a function because its plan is kept. As a part of the statements of every generation it would be planned each time,
at many times the cost of running it.
"""

from django.db import migrations

# An address that the request named gets the ends alone, and none that an endpoint of the account gets already.
_CREATE = """
CREATE FUNCTION workers_write_event(
    of_type text, of_account bigint, of_generation bigint, named_url text, moment timestamptz
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    new_id uuid;
    written integer;
BEGIN
    IF NOT EXISTS (SELECT FROM workers_webhookendpoint WHERE account_id = of_account AND is_enabled) THEN
        RETURN 0;
    END IF;
    new_id := gen_random_uuid();
    INSERT INTO workers_webhookdelivery (event_id, event_type, endpoint_id, generation_id, url, created_at, next_at,
        attempt_count, tries_left, error)
    SELECT new_id, of_type, endpoint.id, of_generation, CASE WHEN endpoint.is_default THEN named_url ELSE '' END,
        moment, moment, 0, 8, ''
    FROM workers_webhookendpoint endpoint
    WHERE endpoint.account_id = of_account AND endpoint.is_enabled AND of_type = ANY(endpoint.events)
        AND (NOT endpoint.is_default OR named_url IS NOT NULL AND NOT EXISTS (
            SELECT FROM workers_webhookendpoint twin
            WHERE twin.account_id = of_account AND twin.is_enabled AND NOT twin.is_default
                AND twin.url = named_url AND of_type = ANY(twin.events)));
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$
"""


class Migration(migrations.Migration):
    """A function that the release before this one does not call."""

    dependencies = [("workers", "0018_webhooks")]

    operations = [
        migrations.RunSQL(
            _CREATE, "DROP FUNCTION workers_write_event(text, bigint, bigint, text, timestamptz)"
        )
    ]
