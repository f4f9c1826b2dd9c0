"""The forms of people and invitations."""

from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError

from billing import invitations, memberships
from billing.membership_models import Role
from zekron_api.console.forms import ConsoleForm

ROLES: Final = (
    (Role.OWNER, "Owner: everything, also keys, money and people"),
    (Role.MEMBER, "Member: makes and deletes pictures, sees usage"),
    (Role.VIEWER, "Viewer: sees pictures and usage"),
)


class InviteForm(ConsoleForm):
    """The form of an invitation."""

    email = forms.EmailField(
        label="Email address",
        max_length=invitations.MAX_EMAIL_CHARACTERS,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    role = forms.ChoiceField(choices=ROLES, widget=forms.RadioSelect, initial=Role.MEMBER)

    def __init__(self, data: Any = None, *, account_id: int) -> None:
        super().__init__(data)
        self._account_id = account_id

    def clean_email(self) -> str:
        """Refuse the address of somebody who belongs to the account."""
        email: str = self.cleaned_data["email"]
        if (
            memberships.list_of_account(account_id=self._account_id)
            .filter(user__email__iexact=email)
            .exists()
        ):
            raise ValidationError("This person belongs to the account already.")
        return email


class RoleForm(ConsoleForm):
    """The form of a person's role."""

    role = forms.ChoiceField(choices=Role.choices)
