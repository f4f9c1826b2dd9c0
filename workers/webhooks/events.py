"""The names of events, and who may subscribe to them."""

from typing import Final

from workers.models import Status

COMPLETED: Final = "generation.completed"
FAILED: Final = "generation.failed"
CANCELLED: Final = "generation.cancelled"
STARTED: Final = "generation.started"
IMAGE_DELETED: Final = "image.deleted"
# An endpoint gets it on demand, whatever it subscribes to.
TEST: Final = "webhook.test"

ENDS: Final = {Status.COMPLETED: COMPLETED, Status.FAILED: FAILED, Status.CANCELLED: CANCELLED}
# An endpoint that names no events gets those of every end.
DEFAULT: Final = tuple(ENDS.values())
SUBSCRIBABLE: Final = (*DEFAULT, STARTED, IMAGE_DELETED)
