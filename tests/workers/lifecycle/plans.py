"""Query plans of the statements that the code really sends: each is explained before it is executed."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from django.db import connection

# What frames and sets is not planned.
PLANNED = ("SELECT", "UPDATE", "INSERT", "DELETE", "WITH")


class Plan(NamedTuple):
    """The plan that PostgreSQL chose for one statement."""

    statement: str
    root: dict[str, Any]

    def nodes(self) -> Iterator[dict[str, Any]]:
        """Every step of it."""
        pending = [self.root]
        for node in pending:
            yield node
            pending += node.get("Plans", [])

    @property
    def read_whole(self) -> set[str]:
        """The tables that were read from end to end."""
        return {node["Relation Name"] for node in self.nodes() if node["Node Type"].endswith("Seq Scan")}

    @property
    def rows_looked_at(self) -> int:
        """The rows that were found in a table or an index, wanted or not."""
        return sum(_rows(node) for node in self.nodes() if node["Node Type"].endswith("Scan"))

    @property
    def blocks_touched(self) -> int:
        """Pages of 8 KiB, of tables and indexes, wherever they were."""
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    def __str__(self) -> str:
        steps = ", ".join(
            f"{node['Node Type']} {node.get('Index Name') or node.get('Relation Name', '')}: {_rows(node)} rows"
            for node in self.nodes()
        )
        return f"{self.blocks_touched} blocks; {steps}; {self.statement}"


def plans_of(work: Callable[[], object]) -> list[Plan]:
    """Do the work, and return the plans of the statements that it sends, in their order. Needs a transaction."""
    plans: list[Plan] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Mapping[str, Any]) -> Any:
        if sql.lstrip().startswith(PLANNED):
            plans.append(Plan(sql, _explained(sql, params)))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        work()
    return plans


def _explained(sql: str, params: Any) -> dict[str, Any]:
    """Explain what executing it would do, and undo it."""
    # The driver's own cursor, or explaining would be explained.
    with connection.connection.cursor() as cursor:
        cursor.execute("SAVEPOINT explained")
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {sql}", params)
        found = cursor.fetchone()[0]
        cursor.execute("ROLLBACK TO SAVEPOINT explained")
    document = json.loads(found) if isinstance(found, str) else found
    root: dict[str, Any] = document[0]["Plan"]
    return root


def _rows(node: dict[str, Any]) -> int:
    missed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int((node["Actual Rows"] + missed) * node["Actual Loops"])
