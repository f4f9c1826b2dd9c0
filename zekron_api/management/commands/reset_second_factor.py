"""The command `reset_second_factor USER`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from billing.management.actor import actor_of
from zekron_api.management.people import find_person
from zekron_api.people import second_factor, staff_log


class Command(BaseCommand):
    """The removal of the second factors of somebody who lost them, with the recovery codes."""

    help = "Remove the second factors and recovery codes of somebody who lost them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the person."""
        parser.add_argument("user", metavar="USER", help="a user name or an e-mail address")

    def handle(self, *, user: str, **_options: Any) -> None:
        """Remove them and print how many there were, or print one line with the error."""
        person = find_person(user)
        with transaction.atomic():
            count = second_factor.reset(user_id=person.pk)
            staff_log.note(
                user=person, message=f"Second factors removed by {actor_of('reset_second_factor')}."
            )
        self.stdout.write(f"{person.get_username()}: removed {count}.")
