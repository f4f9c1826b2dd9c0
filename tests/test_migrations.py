"""A migration runs while the release before it serves: it adds what that release can ignore, and takes nothing."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from django.apps import apps
from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Q
from django.db.models.functions import Now
from django_migration_linter.sql_analyser.analyser import analyse_sql_statements
from django_migration_linter.sql_analyser.base import Check, CheckMode, CheckType
from django_migration_linter.sql_analyser.postgresql import PostgresqlAnalyser

# Outside a transaction, as what is done CONCURRENTLY must be.
pytestmark = pytest.mark.django_db(transaction=True)
OURS = ("billing", "workers", "storage", "zekron_api")
# What is harmless although a rule is against it, and why.
EXCUSED = dict.fromkeys(
    [
        ("billing", "0003_ledger_request_id"),
        ("billing", "0004_account_holds"),
        ("workers", "0003_number_and_turn"),
    ],
    "it came before the first release",
)


def _is_on_an_old_table(statements: Sequence[str], pattern: str) -> bool:
    tables = (found["table"] for line in statements if (found := re.match(pattern, line)))
    return any(not any(line.startswith(f"CREATE TABLE {table}") for line in statements) for table in tables)


def _scans(statements: Sequence[str], **_: object) -> bool:
    return _is_on_an_old_table(
        statements, r"ALTER TABLE (?P<table>\S+) ADD CONSTRAINT .* CHECK .*(?<!NOT VALID);"
    )


def _builds_an_index(statements: Sequence[str], **_: object) -> bool:
    return _is_on_an_old_table(statements, r"ALTER TABLE (?P<table>\S+) ADD COLUMN .*\bUNIQUE\b")


def _is_python(statement: str, **_: object) -> bool:
    return "CANNOT BE WRITTEN AS SQL" in statement


class Analyser(PostgresqlAnalyser):
    """The linter's rules, and what they leave out."""

    migration_checks = [
        *PostgresqlAnalyser.migration_checks,
        Check("CHECK", _scans, "CHECK reads the whole table", CheckMode.TRANSACTION, CheckType.ERROR),
        Check("PYTHON", _is_python, "what Python changes is not known", CheckMode.ONE_LINER, CheckType.ERROR),
        Check("UNIQUE", _builds_an_index, "UNIQUE locks the table", CheckMode.TRANSACTION, CheckType.ERROR),
    ]


def problems(migration: migrations.Migration, state: ProjectState) -> list[str]:
    """Return the codes of the rules that the migration's statements break, warnings among them."""
    with connection.schema_editor(collect_sql=True, atomic=migration.atomic) as editor:
        migration.apply(state, editor, collect_sql=True)
    errors, _, warnings = analyse_sql_statements(Analyser, editor.collected_sql, [])
    return [issue.code for issue in (*errors, *warnings)]


def ours() -> list[tuple[str, str]]:
    """Every migration of ours."""
    return sorted(key for key in MigrationLoader(None).disk_migrations if key[0] in OURS)


@pytest.mark.parametrize(("app", "name"), ours())
def test_the_release_before_a_migration_can_go_on_beside_it(app: str, name: str) -> None:
    loader = MigrationLoader(None)
    found = problems(loader.disk_migrations[app, name], loader.project_state((app, name), at_end=False))
    # What needs no excuse has none.
    assert bool(found) == ((app, name) in EXCUSED), found


def test_every_package_with_tables_is_looked_at() -> None:
    with_tables = {config.label for config in apps.get_app_configs() if config.module.__name__ in OURS}
    assert {app for app, _ in ours()} == {
        label for label in with_tables if list(apps.get_app_config(label).get_models())
    }


ACCOUNT = "account"
SAFE: dict[str, list[Operation]] = {
    "a column that may be empty": [migrations.AddField(ACCOUNT, "note", models.TextField(null=True))],
    "a column that the database fills": [
        migrations.AddField(ACCOUNT, "seen_at", models.DateTimeField(db_default=Now()))
    ],
    "a table": [migrations.CreateModel("Note", [("id", models.BigAutoField(primary_key=True))])],
    "an index that is built beside the work": [
        AddIndexConcurrently(ACCOUNT, models.Index(fields=["created_at"], name="account_age"))
    ],
    "a check of what is written from now on, and one of the rest that locks nothing": [
        AddConstraintNotValid(ACCOUNT, models.CheckConstraint(name="named", condition=~Q(name=""))),
        ValidateConstraint(ACCOUNT, name="named"),
    ],
    "an index that is taken away beside the work": [
        RemoveIndexConcurrently("reservation", "reservation_open")
    ],
}
UNSAFE: dict[str, tuple[list[Operation], str]] = {
    "a column that the older release leaves empty": (
        [migrations.AddField(ACCOUNT, "note", models.TextField(default=""))],
        "NOT_NULL",
    ),
    "a column that becomes mandatory": (
        [migrations.AlterField("ledgerentry", "request_id", models.UUIDField(unique=True))],
        "NOT_NULL",
    ),
    "a column that is taken away": ([migrations.RemoveField(ACCOUNT, "status")], "DROP_COLUMN"),
    "a column under another name": ([migrations.RenameField(ACCOUNT, "name", "title")], "RENAME_COLUMN"),
    "a column of another type": (
        [migrations.AlterField(ACCOUNT, "entry_count", models.IntegerField(default=0))],
        "ALTER_COLUMN",
    ),
    "a table that is taken away": ([migrations.DeleteModel("ApiKey")], "DROP_TABLE"),
    "a table under another name": ([migrations.AlterModelTable("apikey", "keys")], "RENAME_TABLE"),
    "an index that keeps writers waiting": (
        [migrations.AddIndex(ACCOUNT, models.Index(fields=["created_at"], name="account_age"))],
        "CREATE_INDEX",
    ),
    "a reference, with its index": (
        [migrations.AddField(ACCOUNT, "key", models.ForeignKey("billing.ApiKey", models.PROTECT, null=True))],
        "CREATE_INDEX",
    ),
    "an index that is taken away under a lock": (
        [migrations.RemoveIndex("reservation", "reservation_open")],
        "DROP_INDEX",
    ),
    "a unique constraint": (
        [migrations.AddConstraint(ACCOUNT, models.UniqueConstraint(fields=["created_at"], name="one"))],
        "ADD_UNIQUE",
    ),
    "a unique column": (
        [migrations.AddField(ACCOUNT, "tax_id", models.TextField(null=True, unique=True))],
        "UNIQUE",
    ),
    "rows that Python changes": ([migrations.RunPython(lambda apps, editor: None)], "PYTHON"),
    "a check of every row": (
        [migrations.AddConstraint(ACCOUNT, models.CheckConstraint(name="named", condition=~Q(name="")))],
        "CHECK",
    ),
}


def trial(operations: list[Operation]) -> list[str]:
    """Return what would be said of a migration of accounts with these operations."""
    migration: Any = migrations.Migration("trial", "billing")
    migration.operations = operations
    migration.atomic = False
    return problems(migration, MigrationLoader(None).project_state())


@pytest.mark.parametrize("what", SAFE)
def test_what_may_be_added(what: str) -> None:
    assert trial(SAFE[what]) == []


@pytest.mark.parametrize("what", UNSAFE)
def test_what_would_stop_the_release_that_still_runs(what: str) -> None:
    operations, code = UNSAFE[what]
    assert code in trial(operations)
