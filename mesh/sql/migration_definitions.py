"""CHECKs and indexes as a database itself writes them, of the contract and as they are.

Alembic compares neither the text of CHECKs nor the condition of partial indexes.
SQLite keeps the text it was given. PostgreSQL rewrites it, so the contract's table is
made for a moment as a temporary one, and what PostgreSQL says of both is compared.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex

from mesh.sql.engine import POSTGRESQL
from mesh.sql.references import DATABASE

Definitions = Mapping[str, str]
"""Text by name."""

# Of the same dialects, but a percent sign is one.
_PLAIN: dict[str, sa.Dialect] = {
    POSTGRESQL: postgresql.dialect(paramstyle="named"),  # type: ignore[no-untyped-call]  # theirs
    "sqlite": sqlite.dialect(),
}
_TEMPORARY = "pg_temp"
_CHECKS = sa.text(
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE conrelid = to_regclass(:table) AND contype = 'c'"
)
_INDEXES = sa.text(
    "SELECT relname, pg_get_indexdef(indexrelid) FROM pg_index "
    "JOIN pg_class ON pg_class.oid = indexrelid "
    "WHERE indrelid = to_regclass(:table) AND NOT indisprimary"
)


def plain_dialect(dialect: sa.Dialect) -> sa.Dialect:
    """Give the same dialect, as it writes SQL for people."""
    return _PLAIN[dialect.name]


def checks_of(table: sa.Table) -> dict[str, sa.CheckConstraint]:
    """Give the CHECKs that the contract declares, by name."""
    return {
        str(each.name): each for each in table.constraints if isinstance(each, sa.CheckConstraint)
    }


def indexes_of(table: sa.Table, dialect: sa.Dialect) -> list[sa.Index]:
    """Give the indexes that a database is to have: some are written differently for each."""
    return [
        index for index in table.indexes if index.info.get(DATABASE, dialect.name) == dialect.name
    ]


def check_text(check: sa.CheckConstraint, dialect: sa.Dialect) -> str:
    """Write the condition of a CHECK as DDL has it."""
    plain = plain_dialect(dialect)
    compiler = plain.statement_compiler(plain, None)
    text: str = compiler.process(check.sqltext, include_table=False, literal_binds=True)
    return text


def differing(
    connection: sa.Connection, declared: sa.Table, present: sa.Table
) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Give the names of CHECKs and of indexes that both have, with another meaning.

    And those of indexes that are missing.
    """
    read = _read_postgres if connection.dialect.name == POSTGRESQL else _read_sqlite
    ours, theirs = read(connection, declared, present)
    checks, indexes = (
        frozenset(name for name in one.keys() & other.keys() if one[name] != other[name])
        for one, other in zip(ours, theirs, strict=True)
    )
    return checks, indexes, frozenset(ours[1].keys() - theirs[1].keys())


def _read_sqlite(
    connection: sa.Connection, declared: sa.Table, present: sa.Table
) -> tuple[list[Definitions], list[Definitions]]:
    dialect = connection.dialect
    checks, found = (
        {name: _spaced(check_text(check, dialect)) for name, check in checks_of(table).items()}
        for table in (declared, present)
    )
    indexes = {
        str(index.name): _spaced(str(CreateIndex(index).compile(dialect=dialect)))
        for index in indexes_of(declared, dialect)
    }
    master = sa.table("sqlite_master", *map(sa.column, ("type", "name", "tbl_name", "sql")))
    rows = connection.execute(
        sa.select(master.c.name, master.c.sql).where(
            master.c.type == "index", master.c.tbl_name == declared.name, master.c.sql.is_not(None)
        )
    )
    return [checks, indexes], [found, {name: _spaced(sql) for name, sql in rows}]


def _spaced(text: str) -> str:
    """Write every run of white space as one space, and names without quotes."""
    return " ".join(text.replace('"', "").split())


def _read_postgres(
    connection: sa.Connection, declared: sa.Table, _present: sa.Table
) -> tuple[list[Definitions], list[Definitions]]:
    quoted = connection.dialect.identifier_preparer.quote(declared.name)
    theirs = _definitions(connection, quoted)
    attempt = connection.begin_nested()
    try:
        _bare(declared).create(connection)
        ours = _definitions(connection, f"{_TEMPORARY}.{quoted}")
    finally:
        attempt.rollback()
    return ours, theirs


def _bare(declared: sa.Table) -> sa.Table:
    """Copy a table without what a temporary one cannot have: references and partitions."""
    checks: Iterable[Any] = (
        sa.CheckConstraint(sa.text(escaped(check_text(each, _PLAIN[POSTGRESQL]))), name=name)
        for name, each in checks_of(declared).items()
    )
    bare = sa.Table(
        declared.name,
        sa.MetaData(),
        *(sa.Column(each.name, each.type, nullable=each.nullable) for each in declared.c),
        *checks,
        schema=_TEMPORARY,
    )
    for index in indexes_of(declared, _PLAIN[POSTGRESQL]):
        where = index.dialect_options["postgresql"]["where"]
        sa.Index(
            index.name,
            *(bare.c[column.name] for column in index.columns),
            unique=index.unique,
            postgresql_where=where,
            postgresql_using=index.dialect_options["postgresql"]["using"],
            postgresql_nulls_not_distinct=index.dialect_options["postgresql"]["nulls_not_distinct"],
        )
    return bare


def escaped(text: str) -> str:
    """Write a colon so that it begins no parameter."""
    return text.replace(":", "\\:")


def _definitions(connection: sa.Connection, table: str) -> list[Definitions]:
    checks = connection.execute(_CHECKS, {"table": table}).all()
    indexes = connection.execute(_INDEXES, {"table": table}).all()
    # Without the table, which differs: CREATE [UNIQUE] INDEX name ON table USING ...
    return [
        dict(map(tuple, checks)),
        {
            name: f"{'UNIQUE ' if text.startswith('CREATE UNIQUE') else ''}"
            f"{text.partition(' USING ')[2]}"
            for name, text in indexes
        },
    ]
