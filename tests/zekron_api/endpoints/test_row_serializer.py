"""The serializer of rows, which writes what the REST framework's own would write."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.serializers import Serializer

from workers.models import Generation, Kind, Status
from zekron_api.endpoints.reply_serializers import HistoryRowSerializer


@pytest.mark.parametrize("status", Status.values)
def test_a_row_is_what_the_rest_framework_writes(status: str) -> None:
    now = timezone.now()
    row = Generation(
        pk=7,
        kind=Kind.EDIT,
        model="zekron-image-1",
        prompt="a boat",
        parameters={"width": 512, "height": 768, "seed": 3, "metadata": {"a": "b"}, "prompt_tokens_read": 40},
        status=status,
        cost_micros=25_400 if status == Status.COMPLETED else None,
        created_at=now,
        expires_at=now + timedelta(hours=1) if status == Status.COMPLETED else None,
    )
    serializer = HistoryRowSerializer()
    expected: dict[str, Any] = Serializer.to_representation(serializer, row)
    assert list(serializer.to_representation(row).items()) == list(expected.items())
