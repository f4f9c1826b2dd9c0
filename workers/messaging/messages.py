"""What a Celery worker takes from a queue in Redis, written without Celery, which makes a client of Redis for each one.

It is Celery's message protocol 2 in kombu's envelope. Its test holds each field to what the
pinned release sends itself.
"""

import uuid
from collections.abc import Mapping
from typing import Any, Final

import orjson
import pybase64

# Without callbacks, time limits, or a workflow of which it is a part.
_EMBED: Final = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_PLAIN: Final[Mapping[str, Any]] = {
    "lang": "py",
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "timelimit": [None, None],
    "parent_id": None,
    "argsrepr": "()",
    "ignore_result": True,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
}


def message(*, task: str, values: Mapping[str, int], queue: str) -> bytes:
    """One run of the task with these keyword arguments, to be pushed to the queue; its result is not wanted."""
    task_id = str(uuid.uuid4())
    headers = {"task": task, "id": task_id, "root_id": task_id, "kwargsrepr": repr(values), **_PLAIN}
    properties = {
        "correlation_id": task_id,
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": queue},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": str(uuid.uuid4()),
    }
    return orjson.dumps(
        {
            "body": pybase64.b64encode_as_string(orjson.dumps([[], values, _EMBED])),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": properties,
        }
    )
