"""The routes of the console."""

from django.urls import path

from zekron_api.console import billing, front, statements, usage

app_name = "console"
urlpatterns = [
    path("", front.serve, name="front"),
    path("<int:account_id>/", front.open_account, name="account"),
    path("<int:account_id>/usage", usage.serve, name="usage"),
    path("<int:account_id>/api/usage/export", usage.ConsoleExportView.as_view(), name="usage_export"),
    path("<int:account_id>/billing", billing.serve, name="billing"),
    path("<int:account_id>/billing/redeem", billing.redeem, name="redeem"),
    path("<int:account_id>/billing/top-up", billing.top_up, name="top_up"),
    path("<int:account_id>/billing/alerts", billing.put_alerts, name="alerts"),
    path(
        "<int:account_id>/api/statements/<str:month>",
        statements.ConsoleStatementView.as_view(),
        name="statement",
    ),
]
