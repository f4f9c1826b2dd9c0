"""What the server serves: `uvicorn zekron_api.asgi:application`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zekron_api.settings")
django.setup(set_prefix=False)

from workers.catalogue import CatalogueError, catalogue  # noqa: E402 (it needs the settings)
from zekron_api import env  # noqa: E402
from zekron_api.waiting_room import WaitingRoom  # noqa: E402

try:
    catalogue()
except CatalogueError as error:
    raise env.refusal("MODELS_FILE", f"names a file that cannot be used: {error}") from error

application = WaitingRoom()
