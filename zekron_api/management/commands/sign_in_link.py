"""The command `sign_in_link USER [--next /console/]`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from zekron_api.management.people import find_person
from zekron_api.people import sign_in_links


class Command(BaseCommand):
    """The making of a link that signs a person in once, within an hour. A second factor is still asked for."""

    help = "Print a link that signs somebody in, once and within an hour."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the person, and the page to which the link leads."""
        parser.add_argument("user", metavar="USER", help="a user name or an e-mail address")
        parser.add_argument("--next", default="", metavar="PATH", help="the first page (default: /console/)")

    def handle(self, *, user: str, next: str, **_options: Any) -> None:
        """Print the link alone on its line, or one line with the error."""
        self.stdout.write(sign_in_links.make(user=find_person(user), next_path=next))
