"""That a real worker takes the message and runs the task is tested wherever one makes a picture."""

import base64
import json
from typing import Any

from celery import current_app

from workers.messaging import enqueue, messages, redis_client

QUEUE = "gpu"


def _parts(sent: bytes) -> tuple[dict[str, Any], Any]:
    envelope = json.loads(sent)
    return envelope, json.loads(base64.b64decode(envelope.pop("body")))


def _celerys_own() -> bytes:
    queue = redis_client.connection()
    queue.delete(QUEUE)
    current_app.send_task(
        enqueue.GENERATE_TASK, kwargs={"generation_id": 7}, queue=QUEUE, ignore_result=True, retry=False
    )
    (sent,) = queue.lrange(QUEUE, 0, -1)
    queue.delete(QUEUE)
    return sent


def test_a_message_is_the_one_that_celery_would_send() -> None:
    ours, body = _parts(
        messages.message(task=enqueue.GENERATE_TASK, values={"generation_id": 7}, queue=QUEUE)
    )
    theirs, their_body = _parts(_celerys_own())
    assert body == their_body
    # Each has names of its own; where it comes from, and to whom a result would go, nobody asks.
    for of_one, names in (("headers", ("id", "root_id")), ("properties", ("correlation_id", "delivery_tag"))):
        for name in names:
            assert len(ours[of_one].pop(name)) == len(theirs[of_one].pop(name))
    del theirs["headers"]["origin"], theirs["properties"]["reply_to"]
    assert ours == theirs


def test_no_two_messages_have_the_same_name() -> None:
    sent = [messages.message(task="a.task", values={"generation_id": 7}, queue=QUEUE) for _ in range(2)]
    names = [
        (envelope["headers"]["id"], envelope["properties"]["delivery_tag"])
        for envelope, _ in map(_parts, sent)
    ]
    assert len({name for each in names for name in each}) == 4


def test_the_names_of_one_message_agree() -> None:
    envelope, _ = _parts(messages.message(task="a.task", values={"generation_id": 7}, queue=QUEUE))
    headers = envelope["headers"]
    assert headers["id"] == headers["root_id"] == envelope["properties"]["correlation_id"]
