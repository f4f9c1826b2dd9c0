"""The routes of the console."""

from django.urls import path

from zekron_api.console import front

app_name = "console"
urlpatterns = [
    path("", front.serve, name="front"),
    path("<int:account_id>/", front.open_account, name="account"),
]
