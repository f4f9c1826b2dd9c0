"""The routes of the console."""

from django.urls import path

from zekron_api.console import front, usage

app_name = "console"
urlpatterns = [
    path("", front.serve, name="front"),
    path("<int:account_id>/", front.open_account, name="account"),
    path("<int:account_id>/usage", usage.serve, name="usage"),
    path("<int:account_id>/api/usage/export", usage.ConsoleExportView.as_view(), name="usage_export"),
]
