"""``schema_history``: what was changed in a database, when, by whom and for which contract."""

import getpass
import os
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from mesh.contract.storage import MICROSECONDS
from mesh.sql.migration_definitions import plain_dialect
from mesh.sql.settings import ISOLATED
from mesh.sql.triggers import declared
from mesh.sql.types import Timestamp

HISTORY = sa.Table(
    "schema_history",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("applied_at", Timestamp(), nullable=False),
    sa.Column("change", sa.Text, nullable=False),
    sa.Column("statements", sa.Text, nullable=False),
    sa.Column("effect", sa.Text, nullable=False),
    sa.Column("contract", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("applied_by", sa.Text, nullable=False),
)
"""One row for each change; ``contract`` is the digest of the tables it was made for."""


@dataclass(frozen=True)
class Entry:
    """One change that was made."""

    change: str
    statements: tuple[str, ...]
    effect: str


@dataclass(frozen=True)
class Past:
    """What the history says of one contract."""

    current: bool
    """The last changes were made for it."""
    superseded: str
    """Who changed the database for another contract since it was made for this one, or empty."""


def definitions(metadata: sa.MetaData, dialect: sa.Dialect) -> dict[str, tuple[str, ...]]:
    """Give by table the statements that make it and its indexes."""
    plain = plain_dialect(dialect)
    found: dict[str, tuple[str, ...]] = {}
    for table in metadata.tables.values():
        made: list[sa.DDLElement] = [CreateTable(table), *map(CreateIndex, table.indexes)]
        found[table.name] = tuple(str(each.compile(dialect=plain)) for each in made)
    return found


def contract_digest(
    metadata: sa.MetaData,
    dialect: sa.Dialect,
    made: Mapping[str, tuple[str, ...]] | None = None,
) -> str:
    """Give the digest of what a contract asks of a database, whatever the order of fields.

    ``made`` are the definitions, where the caller has them already.
    """
    lines = {f"{ISOLATED}\n"} if metadata.info.get(ISOLATED) else set()
    for table, statements in (made or definitions(metadata, dialect)).items():
        for text in statements:
            lines |= {f"{table}: {line.strip(' ,')}" for line in text.splitlines()}
    triggers = declared(metadata, plain_dialect(dialect))
    lines |= {f"{each.text} {each.body}" for each in triggers.values()}
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()


def has_history(connection: sa.Connection) -> bool:
    """Tell whether anything was ever written of a database."""
    return sa.inspect(connection).has_table(HISTORY.name)


def read_past(connection: sa.Connection, digest: str) -> Past:
    """Tell where a contract stands in the history of a database."""
    if not has_history(connection):
        return Past(current=False, superseded="")
    columns = HISTORY.c.contract, HISTORY.c.version, HISTORY.c.applied_by
    last = connection.execute(sa.select(*columns).order_by(HISTORY.c.id.desc()).limit(1)).first()
    if last is None or last.contract == digest:
        return Past(current=last is not None, superseded="")
    mine = sa.select(sa.func.count()).where(HISTORY.c.contract == digest)
    known = bool(connection.execute(mine).scalar_one())
    told = f"secmesh {last.version}, contract {last.contract[:12]}, by {last.applied_by}"
    return Past(current=False, superseded=told if known else "")


def write_history(connection: sa.Connection, entries: Iterable[Entry], digest: str) -> None:
    """Write what was changed, in the transaction that changed it."""
    HISTORY.create(connection, checkfirst=True)
    same: dict[str, Any] = {
        "applied_at": time.time_ns() * MICROSECONDS // 10**9,
        "contract": digest,
        "version": version("secmesh"),
        "applied_by": _actor(),
    }
    values = [
        {
            "change": entry.change,
            "statements": ";\n".join(entry.statements),
            "effect": entry.effect,
            **same,
        }
        for entry in entries
    ]
    if values:
        connection.execute(sa.insert(HISTORY), values)


def _actor() -> str:
    """Give the system user and host that run this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have a number alone.
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
