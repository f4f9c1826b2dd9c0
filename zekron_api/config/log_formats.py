"""The formats of log lines by their names in LOG_FORMAT."""

from typing import Final

CLASSES: Final = {
    "text": "zekron_api.ops.log_redaction.LineFormatter",
    "json": "zekron_api.ops.json_log.JsonFormatter",
}
