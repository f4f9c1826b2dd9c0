"""What the server serves: `uvicorn zekron_api.asgi:application`."""

import gc
import os
import resource

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zekron_api.settings")
django.setup(set_prefix=False)

from workers.catalogue import CatalogueError, catalogue  # noqa: E402 (it needs the settings)
from zekron_api.config.env import InvalidVariable  # noqa: E402
from zekron_api.waiting.asgi_handler import WaitingRoom  # noqa: E402

try:
    catalogue()
except CatalogueError as error:
    raise InvalidVariable("MODELS_FILE", f"names a file that cannot be used: {error}") from error

# Each client that waits is an open file: as many as the system allows, and not what a shell begins with.
_, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
if most_files == resource.RLIM_INFINITY:
    # macOS says so, and grants this many.
    most_files = 10_240
resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))

application = WaitingRoom()

# A full collection of garbage walks every object, and nobody is answered meanwhile: thousands of waiting clients, each
# of some fifty objects, make that hundreds of milliseconds. So what is loaded by now is never walked again, and the
# rest a hundred times less often than Python would: once in thousands of requests.
gc.freeze()
gc.set_threshold(*gc.get_threshold()[:2], 1000)
