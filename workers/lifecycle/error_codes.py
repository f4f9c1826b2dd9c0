"""Error codes for people: one string that the client reads out and support finds in the log and on the row."""

import secrets
import time


def new_code(*, error_type: str) -> str:
    """`MISSING_PROMPT_7F3A9C_1712505600`: the type in capitals, six random hex digits, Unix seconds."""
    return f"{error_type.upper()}_{secrets.token_hex(3).upper()}_{int(time.time())}"
