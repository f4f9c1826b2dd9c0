"""The ASGI application, for `uvicorn zekron_api.asgi:application --http …`, as the Procfile has it."""

import gc
import os
import resource

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zekron_api.settings")
django.setup(set_prefix=False)

from django.urls import get_resolver  # noqa: E402 (needs the settings)

from workers.catalogue import CatalogueError, catalogue  # noqa: E402 (needs the settings)
from zekron_api.config.env import InvalidVariable  # noqa: E402
from zekron_api.ops import exporters, metrics_server  # noqa: E402
from zekron_api.waiting.asgi_handler import WaitingRoom  # noqa: E402

try:
    catalogue()
except CatalogueError as error:
    raise InvalidVariable("MODELS_FILE", f"names a file that cannot be used: {error}") from error

# Each waiting client is an open file, so the process takes the system's limit in place of the shell's lower one.
_, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
if most_files == resource.RLIM_INFINITY:
    # macOS reports no limit, but grants only this many.
    most_files = 10_240
resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))

application = WaitingRoom()
# Health checks are answered without the routes. Routes that cannot be loaded must stop the start, and the first client
# should not wait for them.
get_resolver().check()
exporters.start(process="web")
metrics_server.start(is_alive=application.loop_probe.is_alive)

# A full garbage collection walks every object and blocks all replies. Thousands of waiting clients, each of about fifty
# objects, make that hundreds of milliseconds. Therefore objects loaded by now are never walked again, and full
# collections run a hundred times less often than Python's default, once in thousands of requests.
gc.freeze()
gc.set_threshold(*gc.get_threshold()[:2], 1000)
