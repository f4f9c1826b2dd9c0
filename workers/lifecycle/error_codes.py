"""Error codes for people: the client reads one out, and support finds it in the log and on the row."""

import secrets
import time


def new_code(*, error_type: str) -> str:
    """Return a new code: the type in capitals, six random hex digits and Unix seconds.

    An example is `MISSING_PROMPT_7F3A9C_1712505600`.
    """
    return f"{error_type.upper()}_{secrets.token_hex(3).upper()}_{int(time.time())}"
