"""The parser of SECRET_KEY_FALLBACKS."""

from typing import Final

from environs import ValidationError

# That of SECRET_KEY.
MIN_CHARACTERS: Final = 50


def parse(text: str | list[str]) -> list[str]:
    """Return the secret keys between the commas. Raises ValidationError, whose message quotes none of them."""
    if not isinstance(text, str):
        # environs also parses the default.
        return text
    secrets = [secret.strip() for secret in text.split(",")]
    for secret in secrets:
        if len(secret) < MIN_CHARACTERS:
            raise ValidationError(
                f"has a key of {len(secret)} characters; each must have at least {MIN_CHARACTERS}"
            )
    return secrets
