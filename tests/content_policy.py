"""The header Content-Security-Policy, read for comparison."""

from typing import Any


def content_policy(response: Any) -> dict[str, str]:
    """Return the header's directives by name. Their order carries no meaning, and django-csp varies it."""
    directives = (part.partition(" ") for part in response["Content-Security-Policy"].split("; "))
    return {name: value for name, _, value in directives}
