"""The calls of a program, which come as lines of JSON. It imports nothing that an environment of a client may lack."""

import json
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

Call = Callable[[dict[str, Any]], dict[str, Any]]


def serve(calls: Mapping[str, Call], *, describe_error: Callable[[Exception], dict[str, Any]]) -> None:
    """Serve the calls of the standard input until it ends, each in a thread of its own.

    A call has `id` and `call`, and its reply the same `id` with `result` or `error`.
    """
    # Packages may print, and only replies belong into the output.
    output, sys.stdout = sys.stdout, sys.stderr
    lock = threading.Lock()

    def reply(line: str) -> None:
        call = json.loads(line)
        try:
            told = {"result": calls[call["call"]](call)}
        except Exception as error:  # noqa: BLE001 (the test looks at it)
            told = {"error": describe_error(error)}
        with lock:
            output.write(json.dumps({"id": call["id"], **told}) + "\n")
            output.flush()

    for line in sys.stdin:
        threading.Thread(target=reply, args=(line,), daemon=True).start()
