"""`audit_ledger`: says whether all the money adds up; exit status 1 and the rows if it does not."""

from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing import audit as money
from workers import audit as work


class Command(BaseCommand):
    """Reads every account, reservation, entry and generation; changes nothing, and may run beside live traffic."""

    help = "Checks that every account, reservation, ledger entry and generation adds up."

    def handle(self, **_options: Any) -> None:
        """Prints each problem as it is found."""
        problem_count = 0
        for problem in chain(money.audit(), work.audit()):
            self.stdout.write(problem)
            problem_count += 1
        if problem_count:
            raise CommandError(f"{problem_count} things do not add up.")
        self.stdout.write("The ledger adds up.")
