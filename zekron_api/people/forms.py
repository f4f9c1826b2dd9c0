"""The forms of people's sign-in that differ from those of django-allauth."""

from typing import Any, Final

from allauth.account.forms import LoginForm as LibraryLoginForm
from allauth.account.forms import SignupForm
from django.core.exceptions import ValidationError

_KNOWN: Final = "Somebody with this address exists. If it is you, sign in, and this invitation comes back."


class LoginForm(LibraryLoginForm):  # type: ignore[misc] # the library has no types
    """The form of a login, whose first field says what it takes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = "Email or user name"
        self.fields["login"].widget.attrs.update(
            autocomplete="username", autocapitalize="none", autofocus=True
        )
        _drop_placeholders(self)


class SignUpForm(SignupForm):  # type: ignore[misc] # the library has no types
    """The form of a stranger who signs up."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _drop_placeholders(self)


class JoinForm(SignUpForm):
    """The form of a new person who was invited. It works while strangers may not sign up."""

    def validate_unique_email(self, value: str) -> str:
        """Tell the holder of an invitation that the address is known. The sign-up of strangers must not."""
        try:
            address: str = super().validate_unique_email(value)
        except ValidationError:
            raise ValidationError(_KNOWN) from None
        if self.account_already_exists:
            raise ValidationError(_KNOWN)
        return address


def _drop_placeholders(form: Any) -> None:
    """Leave out the words in the fields, because they repeat the labels above them."""
    for field in form.fields.values():
        field.widget.attrs.pop("placeholder", None)
