"""Python imports this before all else where PYTHONPATH names its folder: the process's clock is then wrong.

Durations stay true, and so does the time under which requests to the store are signed.
"""

import os
import time
from datetime import datetime, timedelta

from django.utils import timezone

_WRONG_SECONDS = float(os.environ["CHAOS_CLOCK_SECONDS"])
_time, _time_ns, _now = time.time, time.time_ns, timezone.now


def _wrong_now() -> datetime:
    return _now() + timedelta(seconds=_WRONG_SECONDS)


time.time = lambda: _time() + _WRONG_SECONDS
time.time_ns = lambda: _time_ns() + int(_WRONG_SECONDS * 10**9)
timezone.now = _wrong_now
