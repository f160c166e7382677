"""Indexes of lists: a table of the values in a list, kept by triggers of the list's own table.

A list is JSON in its row, and no operator that looks into JSON is LEAKPROOF: under row-level
security PostgreSQL would read all rows. A row of the table of values is (tenant, value, id), so
that rows whose list holds a value are found like those whose column equals one.
"""

from collections.abc import Callable, Iterator

import sqlalchemy as sa
from google.protobuf.descriptor import FieldDescriptor

from mesh.contract.catalogue import CatalogueError, Kind, field_option, is_map
from mesh.sql.references import TENANT
from mesh.sql.types import id_type, member_type

MEMBERS = "members"
"""Where a table keeps the tables of the values in its lists, by field (``Table.info``)."""
MEMBER_OF = "member_of"
"""Where a table of values keeps the name of the table whose lists they are from."""
VALUE = "value"
_PRESENT = sa.text(
    "SELECT tgname, prosrc FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid "
    "WHERE tgrelid = to_regclass(:table) AND NOT tgisinternal"
)


def is_indexed_list(field: FieldDescriptor) -> bool:
    """Tell whether the values in a list are to be found by an index."""
    return bool(field.is_repeated and not is_map(field) and field_option(field).indexed)


def add_members(table: sa.Table, kind: Kind, name: Callable[..., str]) -> None:
    """Add the tables of values that a kind asks for; CatalogueError if it cannot have them."""
    for field in (*kind.descriptor.fields, *kind.envelope_fields):
        if not is_indexed_list(field):
            continue
        value = member_type(field)
        if value is None or kind.option.history:
            reason = "is a list, and only texts and enums of kinds without history are indexed"
            raise CatalogueError(field.full_name, reason)
        ids = kind.pattern.columns
        own = name(table.name, field.name)
        if own in table.metadata.tables:
            raise CatalogueError(field.full_name, f"its values would be kept in the table {own!r}")
        values = sa.Table(
            own,
            table.metadata,
            *(sa.Column(column, id_type(), nullable=False) for column in ids),
            sa.Column(VALUE, value, nullable=False),
            sa.PrimaryKeyConstraint(TENANT, VALUE, *ids[1:]),
            sa.ForeignKeyConstraint(
                ids,
                [table.c[column] for column in ids],
                ondelete="CASCADE",
                name=name("fk", table.name, field.name, "values"),
            ),
            info={MEMBER_OF: table.name},
        )
        # Deleting a row, and writing its list anew, looks here.
        sa.Index(name("ix", table.name, field.name, "row"), *(values.c[each] for each in ids))
        table.info.setdefault(MEMBERS, {})[field.name] = values


def keep_members(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Have lists and their tables of values agree: now, and by triggers from now on."""
    for table in metadata.sorted_tables:
        for field, values in table.info.get(MEMBERS, {}).items():
            if connection.dialect.name == "postgresql":
                _keep_postgres(connection, table, field, values)
            else:
                for statement in _sqlite_statements(table, field, values):
                    connection.exec_driver_sql(statement)


def _keep_postgres(
    connection: sa.Connection, table: sa.Table, field: str, values: sa.Table
) -> None:
    quote = connection.dialect.identifier_preparer.quote
    body, fill = _texts(connection, table, field, values)
    lists = quote(table.name)
    found = {
        row.tgname: row.prosrc
        for row in connection.execute(_PRESENT, {"table": lists})
        if row.tgname in _triggers(values)
    }
    if set(found) == set(_triggers(values)) and set(found.values()) == {body}:
        return
    function = quote(values.name)
    for statement in (
        f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$",
        *(
            f"CREATE OR REPLACE TRIGGER {quote(name)} AFTER {event} ON {lists} "
            f"REFERENCING {rows} FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
            for name, (event, rows) in _triggers(values).items()
        ),
        fill,
    ):
        connection.exec_driver_sql(statement)


def _texts(
    connection: sa.Connection, table: sa.Table, field: str, values: sa.Table
) -> tuple[str, str]:
    """Give what the triggers' function does, and what fills the table of values first."""
    quote = connection.dialect.identifier_preparer.quote
    schema = quote(str(connection.scalar(sa.select(sa.func.current_schema()))))
    # With its schema: a temporary table of that name would otherwise come first, also
    # when the owner's rights are used for a reference that lets go.
    kept, held = f"{schema}.{quote(values.name)}", quote(field)
    item = "item" if isinstance(values.c[VALUE].type, sa.Text) else "CAST(item AS int)"
    ids = [quote(column.name) for column in values.c if column.name != VALUE]
    columns = ", ".join((*ids, VALUE))
    same = " AND ".join(f"written.{each} = past.{each}" for each in ids)
    own = " AND ".join(f"kept.{each} = past.{each}" for each in ids)
    chosen = ", ".join((*(f"written.{each}" for each in ids), item))
    insert = f"INSERT INTO {kept} ({columns}) SELECT {chosen} FROM "  # noqa: S608  # names from the contract
    items = f"jsonb_array_elements_text(written.{held}) AS item"
    body = f"""
BEGIN
  IF TG_OP = 'UPDATE' THEN
    DELETE FROM {kept} AS kept USING past JOIN written ON {same}
      WHERE {own} AND written.{held} <> past.{held};
    {insert} past JOIN written ON {same} AND written.{held} <> past.{held}, {items}
      ON CONFLICT DO NOTHING;
  ELSE
    {insert} written, {items} ON CONFLICT DO NOTHING;
  END IF;
  RETURN NULL;
END
"""  # noqa: S608  # names from the contract
    return body, f"{insert} {quote(table.name)} AS written, {items} ON CONFLICT DO NOTHING"


def _triggers(values: sa.Table) -> dict[str, tuple[str, str]]:
    """Give the triggers by name: when each runs, and what it sees."""
    begin = values.name[:61]
    return {
        f"{begin}_i": ("INSERT", "NEW TABLE AS written"),
        f"{begin}_u": ("UPDATE", "OLD TABLE AS past NEW TABLE AS written"),
    }


def _sqlite_statements(table: sa.Table, field: str, values: sa.Table) -> Iterator[str]:
    ids = [f'"{column.name}"' for column in values.c if column.name != VALUE]
    columns = ", ".join((*ids, VALUE))

    def insert(row: str, source: str = "") -> str:
        chosen = ", ".join((*(f"{row}.{each}" for each in ids), "item.value"))
        items = f'{source}json_each({row}."{field}") AS item'
        return (
            f'INSERT INTO "{values.name}" ({columns}) SELECT {chosen} FROM {items} '  # noqa: S608  # names from the contract
            "WHERE true ON CONFLICT DO NOTHING"
        )

    own = " AND ".join(f"{each} = OLD.{each}" for each in ids)
    delete = f'DELETE FROM "{values.name}" WHERE {own}'  # noqa: S608  # names from the contract
    insertion, update = _triggers(values)
    yield (
        f'CREATE TRIGGER IF NOT EXISTS "{insertion}" AFTER INSERT ON "{table.name}" '
        f"BEGIN {insert('NEW')}; END"
    )
    yield (
        f'CREATE TRIGGER IF NOT EXISTS "{update}" AFTER UPDATE OF "{field}" ON "{table.name}" '
        f"BEGIN {delete}; {insert('NEW')}; END"
    )
    yield insert("written", f'"{table.name}" AS written, ')
