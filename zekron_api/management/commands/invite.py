"""The command `invite ACCOUNT EMAIL [--role member]`."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email

from billing import accounts, invitation_links, invitations, memberships
from billing.management.actor import actor_of
from billing.membership_models import Role
from billing.models import Account


class Command(BaseCommand):
    """The invitation of a person into an account."""

    help = "Print a link by which somebody joins an account, and mail it if EMAIL_URL is set."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the account, the person and the role."""
        parser.add_argument("account", help="a name or an id")
        parser.add_argument("email")
        parser.add_argument(
            "--role", choices=Role.values, help="default: owner of an account without people, else member"
        )

    def handle(self, *, account: str, email: str, role: str | None, **_options: Any) -> None:
        """Print the link alone on its line, or one line with the error."""
        try:
            validate_email(email)
            found = accounts.find(text=account)
            issued = invitations.create(
                account_id=found.pk, email=email, role=role or _default(found), invited_by=actor_of("invite")
            )
        except ValidationError:
            raise CommandError(f"{email!r} is no e-mail address.") from None
        except (Account.DoesNotExist, ValueError, invitations.TooManyInvitations) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(invitation_links.address_of(issued))
        if invitation_links.send(issued=issued):
            self.stderr.write(f"The link was also mailed to {email}.")


def _default(account: Account) -> str:
    has_people = memberships.list_of_account(account_id=account.pk).exists()
    return Role.MEMBER if has_people else Role.OWNER
