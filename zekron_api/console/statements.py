"""The monthly statements for the page Billing."""

from zekron_api.console.session_api import SessionView
from zekron_api.endpoints.monthly_statement import StatementView


class ConsoleStatementView(SessionView, StatementView):
    """GET /v1/statements/{month} for the page."""
