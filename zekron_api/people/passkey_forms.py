"""The forms that take what a browser made with a passkey. What no browser makes is a wrong answer, and no error."""

from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.webauthn import forms as library
from django import forms
from fido2.webauthn import AuthenticationResponse, RegistrationResponse


class _CredentialField(forms.JSONField):
    """JSON in the form of a response of WebAuthn, which the library reads."""

    def __init__(self, response: type[AuthenticationResponse | RegistrationResponse]) -> None:
        super().__init__(widget=forms.HiddenInput)
        self._response = response

    def to_python(self, value: Any) -> Any:
        """Return the object. Raises ValidationError."""
        try:
            credential = super().to_python(value)
            if credential not in self.empty_values:
                self._response.from_dict(credential)
        except (KeyError, TypeError, ValueError):
            raise get_adapter().validation_error("incorrect_code") from None
        return credential

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Return what the form shows again: nothing of a number that Python does not read."""
        try:
            return super().bound_data(data, initial)
        except ValueError:
            return None


class AddForm(library.AddWebAuthnForm):  # type: ignore[misc] # the library has no types
    """The form of a new passkey, which says in plain words what the check box does."""

    credential = _CredentialField(RegistrationResponse)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        box = self.fields["passwordless"]
        box.label = "Sign in without a password"
        box.help_text = "The passkey alone signs you in. It asks for your fingerprint, your face or a PIN."


class LoginForm(library.LoginWebAuthnForm):  # type: ignore[misc] # the library has no types
    """The form of a login by a passkey alone."""

    credential = _CredentialField(AuthenticationResponse)


class AuthenticateForm(library.AuthenticateWebAuthnForm):  # type: ignore[misc] # the library has no types
    """The form of a passkey as a second factor."""

    credential = _CredentialField(AuthenticationResponse)


class ReauthenticateForm(library.ReauthenticateWebAuthnForm):  # type: ignore[misc] # the library has no types
    """The form of a passkey as a proof of who it is."""

    credential = _CredentialField(AuthenticationResponse)
