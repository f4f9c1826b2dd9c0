"""The forms of second factors that differ from those of django-allauth."""

from typing import Any

from allauth.mfa.webauthn.forms import AddWebAuthnForm


class AddPasskeyForm(AddWebAuthnForm):  # type: ignore[misc] # the library has no types
    """The form of a new passkey, which says in plain words what the check box does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["passwordless"].label = "Sign in without a password"
        self.fields[
            "passwordless"
        ].help_text = "The passkey alone signs you in. It asks for your fingerprint, your face or a PIN."
