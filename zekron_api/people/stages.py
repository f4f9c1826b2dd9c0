"""The step of a login that asks to confirm an e-mail address."""

from typing import Any

from allauth.account.stages import EmailVerificationStage
from django.contrib.auth.models import User

from billing import memberships


class ConfirmAddressStage(EmailVerificationStage):  # type: ignore[misc] # the library has no types
    """The step for people who signed up by themselves, where mail is sent.

    Others were let in by somebody: staff by a superuser, and members by an invitation.
    """

    def handle(self) -> Any:
        """Return the page that asks, if any, and whether the login goes on."""
        person: User | None = self.login.user
        if person is not None and (person.is_staff or memberships.list_of_user(user_id=person.pk).exists()):
            return None, True
        return super().handle()
