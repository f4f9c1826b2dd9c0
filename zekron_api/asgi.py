"""What the server serves: `uvicorn zekron_api.asgi:application`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zekron_api.settings")
django.setup(set_prefix=False)

from zekron_api.waiting_room import WaitingRoom  # noqa: E402 (it needs the settings)

application = WaitingRoom()
