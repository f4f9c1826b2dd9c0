"""SQL that Django's ORM writes once, for what each image needs: to write a statement takes the processor ten times
what it takes to send it.

It lies in the lowest package that has such statements, so that all others can reach it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, transaction
from django.db.models import Expression, Field, Model, QuerySet, Value
from django.db.models.query import get_related_populators
from django.db.models.sql.subqueries import InsertQuery, UpdateQuery

M = TypeVar("M", bound=Model)
Row = tuple[Any, ...]

# For the transaction in which it is said; a column behind those of the model, which no one reads.
_WITHOUT_WAITING = ", set_config('synchronous_commit', 'off', true)"
# The database's clock is always the same one; beside it only tests have moments of their own.
KEPT = 64


class _Given(NamedTuple):
    name: str


class Statement(Generic[M]):
    """A text, and its values: each is known, or is given when the statement is sent. For any thread."""

    def __init__(self, text: str, values: Row, read: Callable[[Row], M]) -> None:
        self._text = text
        self._values = values
        self._read = read

    def row(self, **given: object) -> Row | None:
        """Sends it, and gives the row that it returns, if it does: there must not be two."""
        values: list[Any] = [
            given[value.name] if isinstance(value, _Given) else value for value in self._values
        ]
        with connection.cursor() as cursor:
            cursor.execute(self._text, values)
            rows = cursor.fetchmany(2)
        assert len(rows) <= 1
        return rows[0] if rows else None

    def one(self, **given: object) -> M | None:
        """The same, as the model's instance."""
        row = self.row(**given)
        return self._read(row) if row else None


def written(write: Callable[..., Statement[M]], *about: object) -> Statement[M]:
    """What `write` makes of these, made once. They are told apart by their values, expressions too."""
    return _kept(write, *about)


def given(name: str) -> Value:
    """Stands in a query for a value that is given when it is sent. It is sent as it is: no field prepares it."""
    return Value(_Given(name))


def selection(rows: QuerySet[M]) -> Statement[M]:
    """The SELECT of a queryset that finds one row, with whatever `select_related` adds to it."""
    compiler = _compiler(rows)
    text, values = compiler.as_sql()
    return Statement(text, values, _Reader(compiler))


def update(rows: QuerySet[M], changes: Mapping[str, object], *, may_be_lost: bool = False) -> Statement[M]:
    """The UPDATE of a queryset that finds one row. It returns the row as it is then, which Django's own cannot.

    What may be lost does not wait for the disk: others see it at once, and a database that crashes within the next
    moments forgets it, whole. Such a statement is a transaction of its own.
    """
    query: Any = rows.query.chain(UpdateQuery)
    query.add_update_values(changes)
    # Django lets nothing be locked outside of a transaction, and asks while it writes. Nothing is sent here.
    with transaction.atomic(savepoint=False):
        text, values = query.get_compiler(DEFAULT_DB_ALIAS).as_sql()
    reader = _Reader[M](_compiler(QuerySet(rows.model)))
    returned = reader.columns + (_WITHOUT_WAITING if may_be_lost else "")
    return Statement(f"{text} RETURNING {returned}", values, reader)


def insert(row: Model) -> None:
    """What `row.save(force_insert=True)` does to the database, without signals. Values may be expressions."""
    fields = _fields_of(type(row))
    values = {field.attname: getattr(row, field.attname) for field in fields}
    expressions = {name: value for name, value in values.items() if isinstance(value, Expression)}
    prepared = {
        field.attname: field.get_db_prep_save(values[field.attname], connection)
        for field in fields
        if field.attname not in expressions
    }
    inserted = written(_insertion, type(row), tuple(expressions.items())).row(**prepared)
    assert inserted is not None
    # The key, and what the table itself decides.
    for field, value in zip(type(row)._meta.db_returning_fields, inserted, strict=True):
        setattr(row, field.attname, value)
    row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


class _Reader(Generic[M]):
    """Makes instances of what a compiler's SELECT gives, as Django's own querysets do."""

    def __init__(self, compiler: Any) -> None:
        compiler.setup_query()
        selected, of_model = compiler.select, compiler.klass_info
        self._compiler = compiler
        self._model = of_model["model"]
        self._fields = [selected[index][0].target for index in of_model["select_fields"]]
        self._converters = compiler.get_converters([expression for expression, *_ in selected])
        self._populators = get_related_populators(of_model, selected, DEFAULT_DB_ALIAS)  # type: ignore[call-arg] # stubs of Django 6

    @property
    def columns(self) -> str:
        """What a statement returns for this, where nothing is selected beside the model."""
        return ", ".join(connection.ops.quote_name(field.column) for field in self._fields)

    def __call__(self, row: Row) -> M:
        (values,) = self._compiler.apply_converters([row], self._converters)
        names = [field.attname for field in self._fields]
        made: M = self._model.from_db(DEFAULT_DB_ALIAS, names, values[: len(names)])
        for populator in self._populators:
            populator.populate(values, made)
        return made


@lru_cache(maxsize=KEPT)
def _kept(write: Callable[..., Statement[Any]], *about: object) -> Statement[Any]:
    return write(*about)


def _compiler(rows: QuerySet[Any]) -> Any:
    # By the name `connection` it is each thread's own.
    return rows.query.get_compiler(connection=connection)


def _insertion(model: type[Model], expressions: Sequence[tuple[str, Expression]]) -> Statement[Model]:
    fields = _fields_of(model)
    row = model(**{field.attname: given(field.attname) for field in fields} | dict(expressions))
    query: Any = InsertQuery(model)
    query.insert_values(fields, [row])
    compiler = query.get_compiler(DEFAULT_DB_ALIAS)
    compiler.returning_fields = model._meta.db_returning_fields
    ((text, values),) = compiler.as_sql()
    return Statement(text, values, model)


def _fields_of(model: type[Model]) -> "Sequence[Field[Any, Any]]":
    """Those that have a value before the row is inserted."""
    return [field for field in model._meta.local_concrete_fields if not field.primary_key]
