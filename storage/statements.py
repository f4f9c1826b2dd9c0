"""SQL statements that Django's ORM compiles once, for the path of every image.

To compile a statement takes ten times the processor time of sending it. The module is in the lowest package that has
such statements, so that every other package can import it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Generic, NamedTuple, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, transaction
from django.db.models import Expression, Field, Model, QuerySet, Value
from django.db.models.query import get_related_populators
from django.db.models.sql.subqueries import InsertQuery, UpdateQuery

M = TypeVar("M", bound=Model)
Row = tuple[Any, ...]

# The setting holds for its transaction only. It is an extra column after the model's columns, and nobody reads it.
_WITHOUT_WAITING: Final = ", set_config('synchronous_commit', 'off', true)"
# Production always passes the database's clock, so it has few statements. Only tests pass times of their own.
MAX_STATEMENTS: Final = 64


class _Given(NamedTuple):
    name: str


class Statement(Generic[M]):
    """The text of a statement and its values, some of which are given when it is sent. Any thread may use it."""

    def __init__(self, text: str, values: Row, read: Callable[[Row], M]) -> None:
        self._text = text
        self._values = values
        self._read = read

    def row(self, **given: object) -> Row | None:
        """Send the statement and return its row, or None. The statement must not return two rows."""
        values: list[Any] = [
            given[value.name] if isinstance(value, _Given) else value for value in self._values
        ]
        with connection.cursor() as cursor:
            cursor.execute(self._text, values)
            rows = cursor.fetchmany(2)
        assert len(rows) <= 1
        return rows[0] if rows else None

    def one(self, **given: object) -> M | None:
        """Send the statement and return its row as an instance of the model, or None."""
        row = self.row(**given)
        return self._read(row) if row else None


def written(write: Callable[..., Statement[M]], *about: object) -> Statement[M]:
    """Return `write(*about)`, cached by the values of its arguments. Expressions compare by value too."""
    return _kept(write, *about)


def given(name: str) -> Value:
    """Make a placeholder for a value that is given when the statement is sent. No field converts that value."""
    return Value(_Given(name))


def selection(rows: QuerySet[M]) -> Statement[M]:
    """Compile the SELECT of a queryset that finds one row, including the models of `select_related`."""
    compiler = _compiler(rows)
    text, values = compiler.as_sql()
    return Statement(text, values, _Reader(compiler))


def update(rows: QuerySet[M], changes: Mapping[str, object], *, may_be_lost: bool = False) -> Statement[M]:
    """Compile the UPDATE of a queryset that finds one row.

    The statement returns the updated row, which Django's update cannot. With `may_be_lost` the commit does not wait
    for the disk. Others see the change at once, but a database that crashes within the next moments loses the whole
    change. Such a statement must be a transaction of its own.
    """
    query: Any = rows.query.chain(UpdateQuery)
    query.add_update_values(changes)
    # Django refuses a lock outside a transaction, and checks that when it compiles. Nothing is sent here.
    with transaction.atomic(savepoint=False):
        text, values = query.get_compiler(DEFAULT_DB_ALIAS).as_sql()
    reader = _Reader[M](_compiler(QuerySet(rows.model)))
    returned = reader.columns + (_WITHOUT_WAITING if may_be_lost else "")
    return Statement(f"{text} RETURNING {returned}", values, reader)


def insert(row: Model) -> None:
    """Insert the row like `row.save(force_insert=True)`, without signals. Values may be expressions."""
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
    # The database returns the primary key and the columns with a default of the database.
    for field, value in zip(type(row)._meta.db_returning_fields, inserted, strict=True):
        setattr(row, field.attname, value)
    row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


class _Reader(Generic[M]):
    """A builder of model instances from the rows of a compiler's SELECT, as in Django's own querysets."""

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
        """Return the columns of a RETURNING clause, for a SELECT of the model alone."""
        return ", ".join(connection.ops.quote_name(field.column) for field in self._fields)

    def __call__(self, row: Row) -> M:
        (values,) = self._compiler.apply_converters([row], self._converters)
        names = [field.attname for field in self._fields]
        made: M = self._model.from_db(DEFAULT_DB_ALIAS, names, values[: len(names)])
        for populator in self._populators:
            populator.populate(values, made)
        return made


@lru_cache(maxsize=MAX_STATEMENTS)
def _kept(write: Callable[..., Statement[Any]], *about: object) -> Statement[Any]:
    return write(*about)


def _compiler(rows: QuerySet[Any]) -> Any:
    # The name `connection` refers to each thread's own connection.
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
    """Return the fields that have a value before the row is inserted."""
    return [field for field in model._meta.local_concrete_fields if not field.primary_key]
