"""The reader of environment variables: environs, with one line for the operator in place of a traceback.

Each variable may be given as NAME, or as NAME_FILE: the path of a file with the value, as Docker and Kubernetes mount
secrets. The module knows none of the project's variables.
"""

import os
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from environs import EnvValidationError, FileAwareEnv, ValidationError, validate

# The default of a variable that must be set. environs takes None for a value.
REQUIRED: Final[Any] = ...
_REASONS: Final = {
    "Environment variable not set.": "is not set, and has no default outside a local machine",
    "Not a valid boolean.": "is neither 1 nor 0",
    "Not a valid database URL.": "is not of the form postgres://user:password@host/name",
}


class InvalidVariable(SystemExit):
    """An environment variable that cannot be used. It ends the process with one line and status 78 (EX_CONFIG).

    By this status a supervisor knows that another start would fail too.
    """

    def __init__(self, name: str, reason: str) -> None:
        line = f"zekron: the environment variable {name} {reason}."
        super().__init__(line)
        # Python itself would print the line, but then end with status 1, as after any exception.
        sys.stderr.write(f"{line}\n")
        self.code = os.EX_CONFIG


class Environment(FileAwareEnv):
    """A reader that treats an empty value as unset, and collects errors until `seal` raises the first one."""

    def __init__(self) -> None:
        super().__init__(eager=False, strip_whitespace=True)
        self.add_parser("names", _names)

    def _get_value(self, env_key: str, default: Any) -> Any:
        file_key = f"{env_key}{self.file_suffix}"
        try:
            value = super()._get_value(env_key, default)
        except (OSError, ValueError):
            raise InvalidVariable(file_key, "does not name a text file that can be read") from None
        # An empty secret is a failed mount. Taken for unset, DATABASE_URL would turn a server into a local machine.
        if value == "" and os.environ.get(file_key):
            raise InvalidVariable(file_key, "names an empty file")
        return default if value == "" else value

    def seal(self) -> None:
        """Refuse further reading; raise InvalidVariable for the first variable that is missing or wrong."""
        try:
            super().seal()
        except EnvValidationError as error:
            messages = cast("Mapping[str, list[str]]", error.error_messages)
            name, reasons = next(iter(messages.items()))
            raise InvalidVariable(name, _REASONS.get(reasons[0], reasons[0])) from None


def _names(value: str | list[str]) -> list[str]:
    """Return the names between the commas. Blanks around them and empty places do not count."""
    if not isinstance(value, str):
        # environs also parses the default.
        return value
    names = [name for name in map(str.strip, value.split(",")) if name]
    if not names:
        raise ValidationError("names nothing between its commas")
    return names


def within(minimum: int, maximum: int) -> dict[str, Any]:
    """Return the options of a whole number from `minimum` to `maximum`."""
    reason = f"is not a whole number from {minimum} to {maximum}"
    return {
        "validate": validate.Range(minimum, maximum, error=reason),
        "error_messages": {"invalid": reason},
    }


def one_of(*values: str) -> dict[str, Any]:
    """Return the options of a variable with one of these values."""
    return {"validate": validate.OneOf(values, error=f"is not one of: {', '.join(values)}")}


def importable(name: str) -> None:
    """Refuse the name of a Python module that does not exist. The module itself is not run; those above it are."""
    try:
        is_found = find_spec(name) is not None
    except (ImportError, ValueError):
        is_found = False
    if not is_found:
        raise ValidationError("is not the name of a Python module that can be imported")


def readable(path: Path | None) -> None:
    """Refuse the path of a file that is not there or cannot be read."""
    if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
        raise ValidationError("is not the path of a file that can be read")


def web_address(value: str) -> None:
    """Refuse what is not an http:// or https:// address with a host. The message does not quote it."""
    try:
        parts = urlsplit(value)
        # urllib refuses a port above 65535 when it is asked for.
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if value and not is_address:
        raise ValidationError("is not of the form https://host:port")


def min_length(character_count: int) -> Callable[[str], None]:
    """Return a validator for a secret that must be too long to be guessed; its message does not quote the secret."""

    def check(value: str) -> None:
        if len(value) < character_count:
            raise ValidationError(f"has {len(value)} characters; it must have at least {character_count}")

    return check
