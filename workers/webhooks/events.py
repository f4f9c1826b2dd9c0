"""The names of events, and who may subscribe to them."""

from typing import Final

from workers.models import Status

COMPLETED: Final = "generation.completed"
FAILED: Final = "generation.failed"
CANCELLED: Final = "generation.cancelled"
STARTED: Final = "generation.started"
IMAGE_DELETED: Final = "image.deleted"
# What `workers.alerts` tells. The data is no generation.
BALANCE_LOW: Final = "balance.low"
KEY_SPEND_LIMIT_REACHED: Final = "key.spend_limit_reached"
WEBHOOK_DISABLED: Final = "webhook.disabled"
ALERTS: Final = (BALANCE_LOW, KEY_SPEND_LIMIT_REACHED, WEBHOOK_DISABLED)
# An endpoint gets it on demand, whatever it subscribes to.
TEST: Final = "webhook.test"

ENDS: Final = {Status.COMPLETED: COMPLETED, Status.FAILED: FAILED, Status.CANCELLED: CANCELLED}
# An endpoint that names no events gets those of every end.
DEFAULT: Final = tuple(ENDS.values())
SUBSCRIBABLE: Final = (*DEFAULT, STARTED, IMAGE_DELETED, *ALERTS)
