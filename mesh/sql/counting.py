"""Numbers that people call records by: counted from 1 in each tenant, whatever way a row comes.

A trigger takes the next number in the transaction of the row, and holds the counter until its
end: numbers have no gaps but those of rows that were deleted, or refused for what another one
had already. A row that comes with its number, as out of a backup, keeps it.
"""

from collections.abc import Callable, Iterator

import sqlalchemy as sa

from mesh.contract.catalogue import CatalogueError, Kind, field_option
from mesh.sql.triggers import Maker, Trigger, declare
from mesh.sql.types import id_type

COUNTERS = "record_counters"
"""No collection of a contract may have this name."""
COUNTED = "counted"
"""Where a table keeps the names of its counted columns (``Table.info``)."""
TENANT, COUNTER, VALUE = "tenant_id", "counter", "value"


def add_counting(table: sa.Table, kind: Kind, named: Callable[..., str]) -> None:
    """Have the counted fields of a kind filled in; CatalogueError if they cannot be."""
    counted = [field for field in kind.descriptor.fields if field_option(field).counted]
    for field in counted:
        if kind.option.history or not isinstance(table.c[field.name].type, sa.BigInteger):
            reason = "is counted, and only int64 of kinds without history can be"
            raise CatalogueError(field.full_name, reason)
        declare(table, _maker(table, field.name, named))
    table.info[COUNTED] = tuple(field.name for field in counted)
    if counted and COUNTERS not in table.metadata.tables:
        sa.Table(
            COUNTERS,
            table.metadata,
            sa.Column(TENANT, id_type(), nullable=False),
            sa.Column(COUNTER, id_type(), nullable=False),
            sa.Column(VALUE, sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint(TENANT, COUNTER),
        )


def _maker(table: sa.Table, column: str, named: Callable[..., str]) -> Maker:
    def make(dialect: sa.Dialect) -> Iterator[Trigger]:
        if dialect.name != "postgresql":
            raise CatalogueError(
                f"{table.name}.{column}", "is counted, which PostgreSQL alone does"
            )
        name = named("counts", table.name, column)
        text = (
            f'CREATE TRIGGER "{name}" BEFORE INSERT ON "{table.name}" FOR EACH ROW '
            f'WHEN (NEW."{column}" IS NULL) EXECUTE FUNCTION "{name}"()'
        )
        head = f'CREATE OR REPLACE FUNCTION "{name}"() RETURNS trigger LANGUAGE plpgsql'
        yield Trigger(name, table.name, text, name, _body(table.name, column), head)

    return make


def _body(table: str, column: str) -> str:
    return f"""
BEGIN
  INSERT INTO {COUNTERS} AS kept ({TENANT}, {COUNTER}, {VALUE})
    VALUES (NEW.{TENANT}, '{table}.{column}', 1)
    ON CONFLICT ({TENANT}, {COUNTER}) DO UPDATE SET {VALUE} = kept.{VALUE} + 1
    RETURNING {VALUE} INTO NEW."{column}";
  RETURN NEW;
END
"""  # noqa: S608 - names of the contract
