"""`audit_ledger`: says whether all the money adds up; exit status 1 and the rows if it does not."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing import audit


class Command(BaseCommand):
    """Reads every account, reservation and entry; changes nothing, and may run beside live traffic."""

    help = "Checks that every account, reservation and ledger entry adds up."

    def handle(self, **_options: Any) -> None:
        """Prints each problem as it is found."""
        problem_count = 0
        for problem in audit.audit():
            self.stdout.write(problem)
            problem_count += 1
        if problem_count:
            raise CommandError(f"{problem_count} things do not add up.")
        self.stdout.write("The ledger adds up.")
